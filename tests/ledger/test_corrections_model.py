"""Corrections and repricings among everything else that can happen to a ledger, against the model of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from farthing.errors import UnknownCall
from farthing.ledger.amending import Repricing
from farthing.ledger.store import Grant
from ledger.making import RATES
from ledger.test_model import AMOUNTS, Ledgers


class Corrected(Ledgers):
    """The same ledger, whose finished calls are changed as well."""

    @rule(pair=Ledgers.grants, cost=AMOUNTS, void=st.booleans())
    def correct(self, pair: tuple[Grant, int] | None, cost: int, void: bool) -> None:
        if pair is None:
            return
        grant, number = pair
        row = self.rows[number]
        given: dict[str, Any] = {"void": True} if void else {"cost": cost}
        if row.state == "open":
            with pytest.raises(UnknownCall):
                self.ledger.correct(grant.reservation.id, **given, reason="too early")
            return
        before = len(self.ledger.corrections(grant.reservation.id))
        changed = self.ledger.correct(grant.reservation.id, **given, reason="the invoice")
        assert len(self.ledger.corrections(grant.reservation.id)) == before + changed
        row.state = "void" if void else "corrected"
        row.cost = row.counted = 0 if void else cost

    @rule(cost=AMOUNTS, extra=st.sampled_from([0, 0, 7]), every=st.integers(1, 3))
    def reprice(self, cost: int, extra: int, every: int) -> None:
        known = (
            row for row in self.ledger.finished() if row.key in self.rows and "corrected" not in row.flags
        )
        rows = list(known)[::every]
        wanted = [
            Repricing(
                was=row, cost=cost, counted=cost + extra, cost_source="priced", rates=RATES, reason="dearer"
            )
            for row in rows
        ]
        assert self.ledger.reprice(wanted) == [True] * len(rows)
        assert self.ledger.reprice(wanted) == [
            (row.cost, row.counted, row.cost_source) == (cost, cost + extra, "priced")
            and "repriced" in row.flags
            for row in rows
        ]
        for row in rows:
            mine = self.rows[row.key]
            mine.cost, mine.counted = cost, cost + extra


Corrected.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestCorrected = Corrected.TestCase
