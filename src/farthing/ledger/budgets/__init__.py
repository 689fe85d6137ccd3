"""Budgets and their windows as a SQLite ledger keeps them, and what was alerted and refused."""
