"""The rows of calls: how they are written, found, ended and changed."""
