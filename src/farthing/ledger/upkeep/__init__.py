"""What becomes of the files of a SQLite ledger: schema, copies, pruning, spilled calls."""
