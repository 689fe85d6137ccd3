"""What a call will cost at most, what it should cost, and what a finished one did cost."""

from farthing.quote.billing import as_asked, billed, charged, region_of
from farthing.quote.counting import count_ahead, foreseen, is_heavy
from farthing.quote.jobs import asked_again, notes_of, quote, seconds_of
from farthing.quote.margins import Margins
from farthing.quote.questions import cheapest, cost_of, estimate, imagined, instant_ns
from farthing.quote.quoting import Quote, manual, uncapped, window_of

__all__ = [
    "Margins",
    "Quote",
    "as_asked",
    "asked_again",
    "billed",
    "charged",
    "cheapest",
    "cost_of",
    "count_ahead",
    "estimate",
    "foreseen",
    "imagined",
    "instant_ns",
    "is_heavy",
    "manual",
    "notes_of",
    "quote",
    "region_of",
    "seconds_of",
    "uncapped",
    "window_of",
]
