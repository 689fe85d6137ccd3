"""Python runs this at its start where `farthing run` has put this folder on PYTHONPATH.

Programs that never load an SDK pay next to nothing: farthing is imported when the first of the SDKs is. The
interpreter may be any that the program starts, also one that is too old for farthing or does not have it:
nothing here needs more than Python 3.7 and its standard library.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.machinery import PathFinder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType, TracebackType
    from typing import Any

__all__ = ["start"]

REFUSED = 3
_SDKS = ("openai", "anthropic")
_NAME = "sitecustomize"


class _Watch:
    """On `sys.meta_path` it finds nothing, but sees an SDK being asked for."""

    def __init__(self) -> None:
        self.waiting = True

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> None:
        """Never the one to find it."""
        del path, target
        if self.waiting and name in _SDKS:
            self.waiting = False
            _meter()


def _meter() -> None:
    try:
        import_module("farthing.meter.default").meter_run()
    except Exception as error:
        why = f"{sys.executable} cannot meter its calls ({type(error).__name__}: {error})"
        if _has_budget():
            raise ImportError("farthing: " + why + ", and a budget binds them") from error
        sys.stderr.write("farthing: " + why + ": they are not counted\n")


def _has_budget() -> bool:
    import json  # noqa: PLC0415  every program would pay for it

    try:
        return bool(json.loads(os.environ["FARTHING_RUN"])["budgets"])
    except (ValueError, KeyError, TypeError):
        return True


def _tell_refusals() -> None:
    """A program that dies of a refusal shows its traceback as ever, and ends with a status of its own."""
    before = sys.excepthook

    def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        before(kind, error, trace)
        if _is_refusal(error):
            raise SystemExit(REFUSED)  # Python takes the status from it, and goes on ending

    sys.excepthook = excepthook


def _is_refusal(error: BaseException | None) -> bool:
    errors = sys.modules.get("farthing.errors")
    while errors is not None and error is not None:
        if isinstance(error, errors.Refused) or any(map(_is_refusal, getattr(error, "exceptions", ()))):
            return True
        error = error.__cause__
    return False


def _run_the_other() -> None:
    """The sitecustomize that Python would have run without this one."""
    spec = PathFinder.find_spec(_NAME)
    if spec is None or spec.loader is None:
        return
    from importlib.util import module_from_spec  # noqa: PLC0415  every program would pay for it

    own = sys.modules.get(_NAME)
    other: Any = module_from_spec(spec)
    sys.modules[_NAME] = other
    try:
        spec.loader.exec_module(other)
    except BaseException:
        if own is not None:
            sys.modules[_NAME] = own
        raise


def start() -> None:
    """Meter this process, and leave no trace on its path; its children find the folder in the environment."""
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100,PTH120  pathlib costs every program 10 ms
    sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder) != here]  # noqa: PTH100
    if os.environ.get("FARTHING_RUN"):
        sys.meta_path.insert(0, _Watch())
        _tell_refusals()
    _run_the_other()


if __name__ == _NAME:
    start()
