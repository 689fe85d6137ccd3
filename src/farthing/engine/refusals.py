"""Refusals: counted in the ledger, which keeps no row of them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from farthing.errors import LedgerError
from farthing.guard import Refusal
from farthing.log import say_once

if TYPE_CHECKING:
    from farthing.engine.core import Engine

__all__ = ["count"]


def count(engine: Engine, refusal: Refusal) -> None:
    """Count one. Never raises: the call is refused all the same."""
    try:
        engine.on_refused()
        engine.ledger.refused(
            day_ns=refusal.at_ns,
            account=refusal.account,
            model=refusal.model,
            budget=refusal.budget,
            reason=refusal.reason,
        )
    except LedgerError as error:
        say_once(("refusal",), logging.WARNING, "a refusal could not be counted: %s", error)
    except Exception:
        engine.bug("counting a refusal")
