"""A connection that writes: it remembers which windows may have to raise an alert before the commit."""

from __future__ import annotations

import sqlite3
from typing import Any

__all__ = ["Posting"]


class Posting(sqlite3.Connection):
    """A connection of the writer.

    Attributes:
        due: windows in which the transaction has reached the amount at which the next alert is due.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        due: set[int] = set()
        self.due = due

        def alert_due(window: int) -> int:
            due.add(window)
            return 0

        self.create_function("alert_due", 1, alert_due)
