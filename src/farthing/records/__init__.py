"""The nouns: frozen, slotted, picklable. Everything else is made of these."""

from farthing.records.alert import Alert
from farthing.records.budget import Budget, Period
from farthing.records.cost import Band, Cost, CostLine, CostSource, Rates
from farthing.records.estimate import Affordability, Candidate, Estimate
from farthing.records.receipt import CONTEXTS, FLAGS, OPERATIONS, OUTCOMES, Receipt
from farthing.records.usage import Usage, UsageSource

__all__ = [
    "CONTEXTS",
    "FLAGS",
    "OPERATIONS",
    "OUTCOMES",
    "Affordability",
    "Alert",
    "Band",
    "Budget",
    "Candidate",
    "Cost",
    "CostLine",
    "CostSource",
    "Estimate",
    "Period",
    "Rates",
    "Receipt",
    "Usage",
    "UsageSource",
]
