"""Where calls are seen: clients, streams, decorated functions, scopes."""

from farthing.intercept.clients import Metered, metered_by, unwrap, wrap
from farthing.intercept.decorate import Tracker
from farthing.intercept.everywhere import instrument, instrumented_by, uninstrument
from farthing.intercept.module import client_of
from farthing.intercept.scopes import Scope

__all__ = [
    "Metered",
    "Scope",
    "Tracker",
    "client_of",
    "instrument",
    "instrumented_by",
    "metered_by",
    "uninstrument",
    "unwrap",
    "wrap",
]
