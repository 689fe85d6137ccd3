"""What can be asked of a SQLite ledger. Nothing here writes."""
