"""What a call will cost at most, what it should cost, and what a finished one did cost."""

from farthing.quote.counting import foreseen
from farthing.quote.questions import cheapest, cost_of, estimate, imagined, instant_ns
from farthing.quote.quoting import Quote, manual, quote, window_of

__all__ = [
    "Quote",
    "cheapest",
    "cost_of",
    "estimate",
    "foreseen",
    "imagined",
    "instant_ns",
    "manual",
    "quote",
    "window_of",
]
