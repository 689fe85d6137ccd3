"""Reports: questions asked of the ledger. `meter.reports` is an `Answers`."""

from farthing.answers.answers import Answers
from farthing.answers.values import BudgetState, Corrected, ModelSpend, Page, Spend, State, Summary

__all__ = ["Answers", "BudgetState", "Corrected", "ModelSpend", "Page", "Spend", "State", "Summary"]
