"""The life of one call: reserve, send, settle; and what keeps that going in a process."""

from farthing.engine.book import Hold, Made, ahold, entry_of, hold, reading_of
from farthing.engine.call import Call
from farthing.engine.core import Engine
from farthing.engine.drivers import adrive, drive
from farthing.engine.life import Answer, Deferred, Plan, Send, life
from farthing.engine.receipts import receipt_of_row
from farthing.engine.retries import again, may_be_lost

__all__ = [
    "Answer",
    "Call",
    "Deferred",
    "Engine",
    "Hold",
    "Made",
    "Plan",
    "Send",
    "adrive",
    "again",
    "ahold",
    "drive",
    "entry_of",
    "hold",
    "life",
    "may_be_lost",
    "reading_of",
    "receipt_of_row",
]
