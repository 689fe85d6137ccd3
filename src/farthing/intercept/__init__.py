"""Where calls are seen: clients, streams, decorated functions, scopes."""

from farthing.intercept.clients import Metered, metered_by, unwrap, wrap
from farthing.intercept.decorate import Tracker
from farthing.intercept.everywhere import instrument, instrumented_by, uninstrument
from farthing.intercept.scopes import Scope

__all__ = [
    "Metered",
    "Scope",
    "Tracker",
    "instrument",
    "instrumented_by",
    "metered_by",
    "uninstrument",
    "unwrap",
    "wrap",
]
