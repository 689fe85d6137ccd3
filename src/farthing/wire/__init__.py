"""What a request asks for: routes that may cost money, and what their bodies say before they are sent."""

from farthing.wire.asking import Ask, read_request, with_cap, with_usage_asked
from farthing.wire.routes import ROUTES, Fate, Route, cap_field, fate_of, may_cost, route_of

__all__ = [
    "ROUTES",
    "Ask",
    "Fate",
    "Route",
    "cap_field",
    "fate_of",
    "may_cost",
    "read_request",
    "route_of",
    "with_cap",
    "with_usage_asked",
]
