"""Money held while a call runs: which budgets bind it, how much it sets aside, how long it waits for money
that running calls hold, which model it falls back to, and when it is refused."""

from farthing.guard.guard import Guard
from farthing.guard.refusing import say_unpriced
from farthing.guard.waiting import Line, Place, line_of
from farthing.guard.wishes import Again, Held, Look, Refusal, Reload, Unheld, Wait

__all__ = [
    "Again",
    "Guard",
    "Held",
    "Line",
    "Look",
    "Place",
    "Refusal",
    "Reload",
    "Unheld",
    "Wait",
    "line_of",
    "say_unpriced",
]
