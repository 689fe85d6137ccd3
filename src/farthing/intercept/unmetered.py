"""Requests that are not metered: what they cost is not in their answers, or nobody has heard of them."""

from __future__ import annotations

import logging
import re

from farthing import wire
from farthing.engine import Engine
from farthing.errors import LedgerError, Unmeterable
from farthing.log import say_once
from farthing.settings import Who

__all__ = ["is_bound", "passes"]

_ID = re.compile(r"(?<=/)(?!v\d+(?:/|$))[^/]*(?:\d|[^/]{32})[^/]*")


def passes(engine: Engine, who: Who, method: str, url: str) -> None:
    """Let a request pass, with a word about it where it may cost money.

    Raises:
        Unmeterable: for one that costs money while a hard budget may bind it.
    """
    path = _shape(url)
    if wire.may_cost(method, url):
        why = "its body cannot be read"
    else:
        fate = wire.fate_of(method, url)
        if fate == "unknown":
            say_once(("path", path), logging.INFO, "a request to %s is not metered: it is not known", path)
        if fate != "billed":
            return
        why = "its answer does not say what it costs"
    if is_bound(engine, who):
        raise Unmeterable(f"this request to {path} cannot be metered ({why}), and a hard budget may bind it")
    say_once(("path", path), logging.WARNING, "a request to %s is not metered: %s", path, why)


def is_bound(engine: Engine, who: Who) -> bool:
    """Whether a hard budget may bind a call; also one that is in the ledger and was not read before."""
    if engine.guard.may_refuse or any(bound.hard for bound in who.budgets):
        return True
    try:
        engine.guard.load(engine.ledger, fresh=True)
    except LedgerError as error:
        say_once(("ledger", type(error).__name__), logging.ERROR, "the budgets cannot be read: %s", error)
    return engine.guard.may_refuse


def _shape(url: str) -> str:
    """The path of a URL with a star for each id, so that each kind of request is told of once."""
    path = url.split("?", 1)[0].split("#", 1)[0]
    if "://" in path:
        path = "/" + path.split("://", 1)[1].partition("/")[2]
    return _ID.sub("*", path if path.startswith("/") else "/" + path)
