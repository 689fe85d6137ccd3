"""What commands have in common: their options, and the meter that they ask."""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar

import click

from farthing.cli.told import Told

if TYPE_CHECKING:
    from farthing.meter.config import Setting
    from farthing.meter.meter import Meter

__all__ = ["asked", "is_missing", "ledger_option", "opened", "output_options", "piped", "priced", "stated"]

F = TypeVar("F", bound=Callable[..., Any])

_NOT_HERE: Final = frozenset({"budget", "budgets", "enabled", "alert_url"})
"""Settings of a program that makes calls; a command neither declares its budgets nor alerts anybody."""


def ledger_option(command: F) -> F:
    """`--ledger`."""
    return click.option("--ledger", metavar="PATH", help="The ledger; else as configured.")(command)


def output_options(command: F) -> F:
    """`--ledger`, `--json`, `--csv` and `--markdown`."""
    for form, what in (("markdown", "a Markdown table"), ("csv", "CSV"), ("json", "JSON, as in a pipe")):
        command = click.option(f"--{form}", "form", flag_value=form, default=None, help=f"Print {what}.")(
            command
        )
    return ledger_option(command)


def stated(ledger: str | None) -> dict[str, Setting]:
    """Every setting that somebody has stated; `--ledger` wins.

    Raises:
        FarthingError: for a file of settings that is not understood.
    """
    from farthing.meter.config import Setting, settings  # noqa: PLC0415  help needs none of it

    found = settings({})
    if ledger is not None:
        if not ledger.strip():  # as of a variable that is not set
            raise click.BadParameter("it names no file", param_hint="'--ledger'")
        found["ledger"] = Setting(ledger, "--ledger")
    return found


@contextmanager
def asked(ledger: str | None) -> Iterator[Meter]:
    """A meter on the ledger that is meant, to ask only: it may be on a disk that cannot be written.

    Raises:
        Told: if there is no ledger.
        LedgerError: if it cannot be read.
    """
    with opened(ledger) as meter:
        meter.read_only = True
        yield meter


@contextmanager
def opened(ledger: str | None, *, make: bool = False) -> Iterator[Meter]:
    """A meter on the ledger that is meant. Unless `make`, a ledger that is not there is not made.

    Raises:
        Told: if there is no ledger.
        LedgerError: if it cannot be used.
    """
    meter = _meter(ledger)
    where = meter.ledger_path
    if not make and is_missing(where):
        raise Told(f"there is no ledger at {where}: wrap a client, `farthing import` a file, or name another")
    try:
        yield meter
    finally:
        meter.close()


@contextmanager
def priced(ledger: str | None) -> Iterator[Meter]:
    """A meter to ask for prices, which needs no ledger and makes none. One that is there is read, for the
    prices that are stored in it.

    Raises:
        LedgerError: if it cannot be read.
    """
    meter = _meter(ledger)
    meter.read_only = True
    try:
        if not is_missing(meter.ledger_path):
            _ = meter.engine.ledger  # or its prices would be left out without a word
        yield meter
    finally:
        meter.close()


def _meter(ledger: str | None) -> Meter:
    from farthing.meter.meter import Meter  # noqa: PLC0415  help needs none of it

    return Meter(**{name: said.value for name, said in stated(ledger).items() if name not in _NOT_HERE})


def is_missing(where: str | Path) -> bool:
    """Whether a ledger would have to be made there. What is no path is for the ledger to judge, as are links
    that lead round in a circle and a file where a folder should be."""
    text = str(where)
    if text == ":memory:" or "://" in text:
        return False
    try:
        found = Path(text).expanduser().stat()
    except FileNotFoundError:
        return True
    except (OSError, ValueError, RuntimeError):  # a home of nobody
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == 0


def piped() -> BinaryIO:
    """The bytes that are piped in.

    Raises:
        UsageError: if standard input is closed.
    """
    if sys.stdin is None:
        raise click.UsageError("nothing can be piped in: standard input is closed")
    return sys.stdin.buffer
