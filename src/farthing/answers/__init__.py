"""Reports: questions asked of the ledger. `meter.reports` is an `Answers`."""

from farthing.answers.answers import Answers
from farthing.answers.values import BudgetState, ModelSpend, Page, Spend, State, Summary

__all__ = ["Answers", "BudgetState", "ModelSpend", "Page", "Spend", "State", "Summary"]
