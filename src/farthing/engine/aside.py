"""What takes a while, on threads of its own while tasks wait: an event loop goes on meanwhile.

Not on the courier's thread, for which other tasks wait to have their money held.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import copy_context
from typing import TypeVar

from farthing import quote, wire
from farthing.engine.bugs import tell_of_bug
from farthing.engine.courier import Courier

__all__ = ["aside", "at_length", "count_aside"]

T = TypeVar("T")

_counting = Courier("farthing-tokens")
_lengthy = Courier("farthing-lengthy")


async def aside(job: Callable[[], T]) -> T:
    """What a job returns or raises, in the scopes of its caller; a task that is cancelled does not wait for
    its end."""
    context = copy_context()
    found: T = await _counting.bring(lambda: context.run(job), _nobody)
    return found


async def at_length(job: Callable[[], T]) -> T:
    """As `aside`, for what may take minutes, in which nobody's prompt waits to be counted."""
    context = copy_context()
    found: T = await _lengthy.bring(lambda: context.run(job), _nobody)
    return found


async def count_aside(ask: wire.Ask) -> None:
    """Count a request whose counting would hold up the loop. Never raises: what is not counted now is bounded
    later."""
    try:
        if quote.is_heavy(ask):
            await aside(lambda: quote.count_ahead(ask))
    except Exception:
        tell_of_bug("counting a request")


def _nobody(_: object) -> None:
    """Waits for it any more."""


def _in_child() -> None:
    global _counting, _lengthy
    _counting, _lengthy = Courier("farthing-tokens"), Courier("farthing-lengthy")  # threads are the parent's


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
