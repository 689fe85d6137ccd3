"""In-process cost accounting for LLM calls: exact prices, a local ledger, budgets that hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# fmt: off
# isort: off
if TYPE_CHECKING:
    from farthing.catalog import UserPrice
    from farthing.engine import Hold
    from farthing.errors import (
        FarthingError, InsufficientCredits, InvalidBudget, InvalidUsage, LedgerCorrupt, LedgerError,
        LedgerFull, LedgerLocked, LedgerMoved, LedgerTooNew, Refused, TransactionConflict, Unbounded,
        UnknownCall, Unmeterable, UnpricedModel,
    )
    from farthing.intercept import Scope
    from farthing.meter.default import (
        acan_afford, acorrect, areserve, arecord, budget, budgets, can_afford, cheapest, configure,
        correct, cost_of, default_meter, estimate, instrument, receipt, record, remove_budget, reports,
        reserve, scope, set_budget, track_usage, uninstrument, unwrap, using, wrap,
    )
    from farthing.meter.meter import Meter
    from farthing.records import Affordability, Alert, Budget, Candidate, Cost, CostLine, Estimate
    from farthing.records import Rates, Receipt, Usage

_ROOMS = {
    "farthing.catalog": "UserPrice",
    "farthing.engine": "Hold",
    "farthing.errors": "FarthingError InsufficientCredits InvalidBudget InvalidUsage LedgerCorrupt "
        "LedgerError LedgerFull LedgerLocked LedgerMoved LedgerTooNew Refused TransactionConflict Unbounded "
        "UnknownCall Unmeterable UnpricedModel",
    "farthing.intercept": "Scope",
    "farthing.meter.meter": "Meter",
    "farthing.records": "Affordability Alert Budget Candidate Cost CostLine Estimate Rates Receipt Usage",
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names.split()}  # others: meter.default

__all__ = [
    "Affordability", "Alert", "Budget", "Candidate", "Cost", "CostLine", "Estimate", "FarthingError", "Hold",
    "InsufficientCredits", "InvalidBudget", "InvalidUsage", "LedgerCorrupt", "LedgerError", "LedgerFull",
    "LedgerLocked", "LedgerMoved", "LedgerTooNew", "Meter", "Rates", "Receipt", "Refused", "Scope",
    "TransactionConflict", "Unbounded", "UnknownCall", "Unmeterable", "UnpricedModel", "Usage", "UserPrice",
    "acan_afford", "acorrect", "arecord", "areserve", "budget", "budgets", "can_afford", "cheapest",
    "configure", "correct", "cost_of", "default_meter", "estimate", "instrument", "receipt", "record",
    "remove_budget", "reports", "reserve", "scope", "set_budget", "track_usage", "uninstrument", "unwrap",
    "using", "wrap",
]


def __getattr__(name: str) -> Any:
    """Each name is imported when it is first used."""
    from importlib import import_module, metadata  # noqa: PLC0415  importing farthing imports nothing else

    if name == "__version__":
        return metadata.version("farthing")
    if name not in __all__:
        raise AttributeError(f"module 'farthing' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_ROOM_OF.get(name, "farthing.meter.default")), name)
    return value
