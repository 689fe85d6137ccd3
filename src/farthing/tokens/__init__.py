"""Tokens of a request before it is sent, counted offline.

Every figure has a `method` and two values: `tokens`, what is expected, and `upper`, what a guard should
count on. Nothing here raises, and nothing reaches for the network. The first count of a vocabulary loads it
(see `warm` and `loaded`); no event loop is made to wait for that, nor for a large text (see `sizes`).
"""

from farthing.tokens.count import count_input, count_messages, count_text, count_texts, loaded, warm
from farthing.tokens.sizes import is_large
from farthing.tokens.tally import UNSEEN
from farthing.tokens.text import Count, Method

__all__ = [
    "UNSEEN",
    "Count",
    "Method",
    "count_input",
    "count_messages",
    "count_text",
    "count_texts",
    "is_large",
    "loaded",
    "warm",
]
