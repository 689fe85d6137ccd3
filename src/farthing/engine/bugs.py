"""Errors of our own: they are told in the log, and never to the program whose calls are metered."""

from __future__ import annotations

import logging
import sys
import traceback

from farthing.log import say_once
from farthing.struck import pass_on

__all__ = ["tell_of_bug"]


def tell_of_bug(doing: str, error: BaseException | None = None) -> None:
    """Log an error of our own, by default the one that is being handled; once for each place and kind.

    Where it happened, not what it said: a message may hold a piece of a prompt. What a signal handler raised
    is no error of ours: it is raised on.
    """
    error = error or sys.exc_info()[1]
    pass_on(error)
    frame = traceback.extract_tb(error.__traceback__ if error else None)[-1]
    name = type(error).__name__ if error else "error"
    say_once(
        ("bug", doing, name),
        logging.ERROR,
        "farthing failed while %s (%s at %s:%s in %s); your program goes on, the call may be missing "
        "in the ledger",
        doing,
        name,
        frame.filename,
        frame.lineno,
        frame.name,
    )
