"""What a request asks for: routes that may cost money, and what their bodies say before they are sent."""

from farthing.wire.asking import Ask, read_request, requests_of, with_cap, with_usage_asked
from farthing.wire.hosted import UNLIMITED
from farthing.wire.instead import with_model
from farthing.wire.jobs import GOING_ON, JOBS, Asked, Job, job_asked, job_made
from farthing.wire.route import Route
from farthing.wire.routes import ROUTES, Fate, cap_field, fate_of, may_cost, route_of

__all__ = [
    "GOING_ON",
    "JOBS",
    "ROUTES",
    "UNLIMITED",
    "Ask",
    "Asked",
    "Fate",
    "Job",
    "Route",
    "cap_field",
    "fate_of",
    "job_asked",
    "job_made",
    "may_cost",
    "read_request",
    "requests_of",
    "route_of",
    "with_cap",
    "with_model",
    "with_usage_asked",
]
