"""The life of one call: reserve, send, settle; and what keeps that going in a process."""

from farthing.engine.aside import aside, at_length, count_aside
from farthing.engine.book import Hold, Made, ahold, book, entry_of, hold, reading_of
from farthing.engine.call import Call
from farthing.engine.closed import Driven, closes, later, promptly, soon
from farthing.engine.core import Engine
from farthing.engine.drivers import adrive, drive
from farthing.engine.jobs import Park, call_of, late
from farthing.engine.life import Answer, Deferred, Plan, Send, life
from farthing.engine.receipts import receipt_of_row
from farthing.engine.retries import again, may_be_lost

__all__ = [
    "Answer",
    "Call",
    "Deferred",
    "Driven",
    "Engine",
    "Hold",
    "Made",
    "Park",
    "Plan",
    "Send",
    "adrive",
    "again",
    "ahold",
    "aside",
    "at_length",
    "book",
    "call_of",
    "closes",
    "count_aside",
    "drive",
    "entry_of",
    "hold",
    "late",
    "later",
    "life",
    "may_be_lost",
    "promptly",
    "reading_of",
    "receipt_of_row",
    "soon",
]
