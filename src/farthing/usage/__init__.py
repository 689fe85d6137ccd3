"""What an answer says of its own cost: response bodies and stream events of any provider -> counts.

`flavours/` holds one row for each wire flavour; a further flavour is a further row. Pure: nothing here
does I/O, keeps state or raises for any JSON value.
"""

from farthing.usage.bodies import flavour_of, read, read_event
from farthing.usage.bounds import MOST_TOKENS, believed
from farthing.usage.flavours import DIALECTS, FLAVOURS
from farthing.usage.headers import with_headers
from farthing.usage.jobs import MANY, job_fields, read_job, read_results
from farthing.usage.lines import BatchLine, batch_line
from farthing.usage.merging import merge
from farthing.usage.reading import Part, Reading
from farthing.usage.streams import choices_ended, failed, finished, visible, visible_in

__all__ = [
    "DIALECTS",
    "FLAVOURS",
    "MANY",
    "MOST_TOKENS",
    "BatchLine",
    "Part",
    "Reading",
    "batch_line",
    "believed",
    "choices_ended",
    "failed",
    "finished",
    "flavour_of",
    "job_fields",
    "merge",
    "read",
    "read_event",
    "read_job",
    "read_results",
    "visible",
    "visible_in",
    "with_headers",
]
