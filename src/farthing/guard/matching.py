"""Which budgets bind a call: every standing one whose scope matches, and every attached one in force."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from farthing import limits
from farthing.ledger.store import Bound, StandingBudget
from farthing.settings import Who

__all__ = ["Binding", "Known", "standing_bound"]

_MATCHES = 4_096
_SURFACES = 256


class Binding(NamedTuple):
    """The budgets that bind a call, whether one of them is hard, and whether a hard one names a fallback."""

    bounds: tuple[Bound, ...]
    hard: bool
    falls_back: bool

    @classmethod
    def of(cls, bounds: tuple[Bound, ...]) -> Binding:
        """Of these budgets."""
        hard = [bound for bound in bounds if bound.hard]
        return cls(bounds, bool(hard), any(bound.budget.fallback for bound in hard))


class Known:
    """The standing budgets of one epoch, and what was matched against them.

    Replaced whole: a call that was matched against the budgets of one epoch must not be reserved under
    another, or a limit that was lowered meanwhile would not bind it.
    """

    __slots__ = ("_bindings", "_matches", "bounds", "epoch")

    def __init__(self, epoch: int, bounds: tuple[Bound, ...]) -> None:
        self.epoch = epoch
        self.bounds = bounds
        self._matches: dict[object, tuple[Bound, ...]] = {}
        self._bindings: dict[tuple[int, str | None, str | None], tuple[Who, Binding]] = {}

    def binding(self, who: Who, *, provider: str | None, model: str) -> Binding:
        """What `matched` finds, remembered for settings that are asked for again as the same object: those of
        a client outside of scopes. What is kept keeps them alive, so that no others have their id."""
        key = id(who), provider, model
        kept = self._bindings.get(key)
        if kept is not None and kept[0] is who:
            return kept[1]
        made = Binding.of(self.matched(who, provider=provider, model=model))
        if len(self._bindings) >= _SURFACES:
            self._bindings.clear()
        self._bindings[key] = who, made
        return made

    def matched(self, who: Who, *, provider: str | None, model: str | None) -> tuple[Bound, ...]:
        """Every budget that binds a call, standing and attached."""
        tags = who.tags or {}
        account = who.account or "default"
        context = who.context or "customer"
        found: tuple[Bound, ...] = ()

        def match(bounds: Sequence[Bound]) -> tuple[Bound, ...]:
            return tuple(
                _matching(bounds, account=account, context=context, provider=provider, model=model, tags=tags)
            )

        if self.bounds:
            key = (account, context, provider, model, *tags.items())
            matches = self._matches.get(key)
            if matches is None:
                matches = match(self.bounds)
                if len(self._matches) >= _MATCHES:
                    self._matches.clear()
                self._matches[key] = matches
            found = matches
        if who.budgets:
            found += match(who.budgets)
        return found


def standing_bound(standing: StandingBudget) -> Bound:
    """A standing budget as it binds calls, before its key for one is known."""
    budget = standing.budget
    return Bound(budget.name, budget, "", budget.limit_nano, False)  # noqa: FBT003  a record's field


def _matching(
    every: Sequence[Bound],
    *,
    account: str,
    context: str,
    provider: str | None,
    model: str | None,
    tags: Mapping[str, str],
) -> Iterator[Bound]:
    for bound in every:
        budget = bound.budget
        if not limits.matches(
            budget, account=account, context=context, provider=provider, model=model, tags=tags
        ):
            continue
        if budget.per is None:
            yield bound
            continue
        part = limits.key_of(budget, account=account, tags=tags)
        if part is not None:
            key = f"{bound.key}/{part}" if bound.key else part
            yield Bound(bound.identity, budget, key, bound.limit, bound.attached)
