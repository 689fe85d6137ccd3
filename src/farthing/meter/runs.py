"""A run of a program under `farthing run`, as all its processes know it: by their environment.

Its calls are those of the default meters of these processes; it is to them as a scope around the whole
program.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from farthing.engine import Engine
from farthing.errors import FarthingError
from farthing.meter.ids import uuid7
from farthing.meter.surfaces import say_unenforced
from farthing.settings import Who, attach, checked_tags

__all__ = ["VARIABLE", "Run", "join"]

VARIABLE: Final = "FARTHING_RUN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Attributes:
    path: the ids of the runs, outermost first, as in the `run` of a call.
    budgets: (limit as text, surface, id of its run) of this run and of those around it.
    tags: of all its calls.
    refusals: files that grow by a byte with each refused call, one for this run and each around it.
    """

    path: str
    budgets: tuple[tuple[str, str, str], ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    refusals: tuple[str, ...] = ()

    @classmethod
    def inside(
        cls,
        outer: Run | None,
        *,
        budget: str | None,
        name: str | None,
        tags: Mapping[str, str],
        refusals: str,
    ) -> Self:
        """A new run, inside of the one in whose environment it is started."""
        own = uuid7()[-12:]  # the random end, as scopes have it
        around = outer or cls(path="")
        surface = "run" if name is None else f"run:{name}"
        return cls(
            path=f"{around.path}/{own}".lstrip("/"),
            budgets=around.budgets if budget is None else (*around.budgets, (budget, surface, own)),
            tags={**around.tags, **tags},
            refusals=(*around.refusals, refusals),
        )

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self | None:
        """The run of an environment; None if there is none.

        Raises:
            FarthingError: if it is not understood: what it limits must not go unlimited.
        """
        text = environ.get(VARIABLE, "")
        if not text:
            return None
        try:
            told: dict[str, Any] = json.loads(text)
            return cls(
                path=str(told["path"]),
                budgets=tuple(
                    (str(limit), str(surface), str(key)) for limit, surface, key in told["budgets"]
                ),
                tags=checked_tags(told["tags"]) or {},
                refusals=tuple(map(str, told["refusals"])),
            )
        except (ValueError, KeyError, TypeError):
            raise FarthingError(f"{VARIABLE} is not understood: `farthing run` sets it") from None

    def text(self) -> str:
        """The value of the variable."""
        return json.dumps(
            {"path": self.path, "budgets": self.budgets, "tags": self.tags, "refusals": self.refusals}
        )


def join(engine: Engine, run: Run) -> None:
    """Make the calls of a meter calls of a run."""
    account = engine.who.account or "default"
    bounds = tuple(
        bound
        for limit, surface, key in run.budgets
        for bound in attach(limit, surface=surface, account=account, run=key)
    )
    engine.who = Who(None, None, run.tags or None, bounds, run.path).over(engine.who)
    engine.on_refused = lambda: _count(run.refusals)
    if bounds and not engine.enabled:
        say_unenforced()


def _count(files: tuple[str, ...]) -> None:
    for name in files:
        with contextlib.suppress(OSError):  # the run may be over, and its folder gone
            file = os.open(name, os.O_WRONLY | os.O_APPEND)
            try:
                os.write(file, b".")
            finally:
                os.close(file)
