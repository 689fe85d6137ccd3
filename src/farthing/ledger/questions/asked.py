"""What can be asked of a ledger in SQLite: each question is answered from one snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from farthing.ledger.questions import checking, reading
from farthing.ledger.questions.margins import margins
from farthing.ledger.questions.totals import totals
from farthing.ledger.store import Bound, Short, Totals, WindowRow
from farthing.ledger.writing.connection import Connections

__all__ = ["Questions"]


class Questions:
    """The part of `farthing.ledger.store.Ledger` that writes nothing."""

    where: str
    durability: str
    _connections: Connections

    def windows(self, *, at_ns: int | None = None) -> list[WindowRow]:
        return self._connections.read(lambda conn: reading.windows(conn, at_ns))

    def room(self, bounds: Sequence[Bound], at_ns: int) -> list[tuple[Bound, int]]:
        return [(s.bound, s.limit - s.spent - s.held) for s in self.look(bounds, at_ns)]

    def look(self, bounds: Sequence[Bound], at_ns: int) -> list[Short]:
        return self._connections.read(lambda conn: reading.look(conn, bounds, at_ns), brief=True)

    def call(self, call_id: str) -> dict[str, Any] | None:
        return self._connections.read(lambda conn: reading.call(conn, call_id))

    def calls(
        self,
        *,
        account: str | None = None,
        model: str | None = None,
        context: str | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> list[dict[str, Any]]:
        where = {"account": account, "model": model, "context": context}
        return self._connections.read(lambda conn: reading.calls(conn, where, limit, before))

    def totals(
        self,
        by: Sequence[str] = (),
        *,
        start_ns: int | None = None,
        end_ns: int | None = None,
        where: Mapping[str, str] | None = None,
    ) -> list[Totals]:
        return self._connections.read(lambda conn: totals(conn, by, start_ns, end_ns, where or {}))

    def run_totals(self, run: str) -> Totals:
        return self._connections.read(lambda conn: reading.run_totals(conn, run))

    def run_calls(self, run: str) -> list[dict[str, Any]]:
        return self._connections.read(lambda conn: reading.run_calls(conn, run))

    def refusals(self, *, start_ns: int | None = None, end_ns: int | None = None) -> list[dict[str, Any]]:
        return self._connections.read(lambda conn: reading.refusals(conn, start_ns, end_ns))

    def margins(self) -> list[tuple[str, int, int]]:
        return self._connections.read(margins)

    def facts(self) -> dict[str, Any]:
        facts = self._connections.read(lambda conn: checking.facts(conn, self.where))
        return {"path": self.where, "durability": self.durability, **facts}

    def check(self) -> list[str]:
        return self._connections.read(checking.check)
