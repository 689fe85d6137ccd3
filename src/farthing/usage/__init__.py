"""What an answer says of its own cost: response bodies and stream events of any provider -> counts.

`flavours/` holds one row for each wire flavour; a further flavour is a further row. Pure: nothing here
does I/O, keeps state or raises for any JSON value.
"""

from farthing.usage.bodies import flavour_of, read, read_event
from farthing.usage.flavours import FLAVOURS
from farthing.usage.merging import merge
from farthing.usage.reading import Part, Reading
from farthing.usage.streams import failed, finished, visible, visible_in

__all__ = [
    "FLAVOURS",
    "Part",
    "Reading",
    "failed",
    "finished",
    "flavour_of",
    "merge",
    "read",
    "read_event",
    "visible",
    "visible_in",
]
