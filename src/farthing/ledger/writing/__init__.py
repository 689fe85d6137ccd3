"""Who writes a SQLite ledger, when, and through which connection and lock."""
