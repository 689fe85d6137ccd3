"""`farthing run`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import click

from farthing.cli.options import is_missing, ledger_option, opened, stated
from farthing.cli.text import one_line, usd
from farthing.cli.told import Told
from farthing.errors import FarthingError, InvalidBudget

if TYPE_CHECKING:
    from farthing.ledger.store import Totals

__all__ = ["run"]

_NOT_EXECUTABLE: Final = 126
_NOT_FOUND: Final = 127
_KILLED: Final = 128
"""Exit statuses as shells and `env` have them; the last and the number of the signal."""

_FROM_TERMINAL: Final = ("SIGINT", "SIGQUIT", "SIGHUP")
"""What a terminal sends to all that run in its foreground: the program has had it already."""


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--budget", metavar="LIMIT", help="'$5' for this run, '$5/day' for all such runs of a day.")
@click.option("--account", help="Whom its calls are booked on.")
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="A tag of its calls; repeatable.")
@click.option("--name", help="Tells runs with budgets per day and the like apart.")
@ledger_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def run(
    ctx: click.Context,
    *,
    budget: str | None,
    account: str | None,
    tags: tuple[str, ...],
    name: str | None,
    ledger: str | None,
    command: tuple[str, ...],
) -> None:
    """Run COMMAND with all its LLM calls metered, and say on stderr what they cost.

    The program needs no change, nor do the programs that it starts. Its exit status is passed on; it is 3 if
    the program dies of a refused call. What follows COMMAND are its own options: farthing run --budget '$1'
    -- python app.py --fast
    """
    where, enabled = _settings(ledger)
    with tempfile.TemporaryDirectory(prefix="farthing-run-", ignore_cleanup_errors=True) as folder:
        refusals = Path(folder, "refusals")
        refusals.touch(mode=0o600)
        path, environ = _environment(
            where, budget=budget, account=account, tags=tags, name=name, refusals=str(refusals)
        )
        status = _run(command, environ)
        refused = refusals.stat().st_size
    if enabled:
        _tell(where, path, refused, killed=status < 0)
    else:
        _say("accounting is switched off: nothing was counted")
    ctx.exit(status if status >= 0 else _KILLED - status)


def _settings(ledger: str | None) -> tuple[str, bool]:
    """The ledger, wherever the program may change to, and whether anything is counted at all."""
    from farthing.meter.config import default_ledger  # noqa: PLC0415  help needs none of it

    found = stated(ledger)
    where = str(found["ledger"].value) if "ledger" in found else str(default_ledger())
    if where == ":memory:":
        raise Told("a run needs a ledger that its processes can share; ':memory:' is of one process only")
    if "://" not in where:
        where = str(Path(where).expanduser().absolute())
    return where, "enabled" not in found or bool(found["enabled"].value)


def _environment(
    where: str,
    *,
    budget: str | None,
    account: str | None,
    tags: Sequence[str],
    name: str | None,
    refusals: str,
) -> tuple[str, dict[str, str]]:
    """The path of the run, and what its processes find in their environment."""
    from farthing import boot  # noqa: PLC0415  help needs none of it
    from farthing.meter.runs import VARIABLE, Run  # noqa: PLC0415
    from farthing.records import Budget  # noqa: PLC0415

    try:
        if budget is not None:
            Budget.parse(budget)
    except InvalidBudget as error:
        raise click.BadParameter(str(error), param_hint="'--budget'") from None
    if account == "" or name == "":
        raise click.UsageError("--account and --name must not be empty")
    pairs = dict(_tag(tag) for tag in tags)
    made = Run.inside(Run.of(os.environ), budget=budget, name=name, tags=pairs, refusals=refusals)
    environ = {**os.environ, VARIABLE: made.text(), "FARTHING_LEDGER": where}
    if account is not None:
        environ["FARTHING_ACCOUNT"] = account
    folder = str(Path(boot.__file__).absolute().parent)
    others = [other for other in environ.get("PYTHONPATH", "").split(os.pathsep) if other not in ("", folder)]
    environ["PYTHONPATH"] = os.pathsep.join([folder, *others])
    return made.path, environ


def _tag(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise click.BadParameter(f"{text!r} is not of the form NAME=VALUE", param_hint="'--tag'")
    return name, value


# -- the program ------------------------------------------------------------------------------------


def _run(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Its exit status; below zero the number of the signal that killed it."""
    program = shutil.which(command[0], path=environ.get("PATH")) or command[0]
    sys.stdout.flush()
    sys.stderr.flush()
    with _passed_on() as to:
        try:
            process = subprocess.Popen([program, *command[1:]], env=environ)  # noqa: S603  what was asked for
        except FileNotFoundError:
            raise Told(f"{command[0]}: there is no such command", _NOT_FOUND) from None
        except OSError as error:
            raise Told(f"{command[0]}: {error.strerror}", _NOT_EXECUTABLE) from None
        to.append(process)
        for number in to.early:
            process.send_signal(number)
        return process.wait()


class _Receiver(list["subprocess.Popen[bytes]"]):
    """The program, once it has been started, and the signals that came before."""

    def __init__(self) -> None:
        super().__init__()
        self.early: list[int] = []

    def take(self, number: int, _: FrameType | None) -> None:
        """A signal for the program."""
        if signal.Signals(number).name in _FROM_TERMINAL and _in_foreground():
            return
        for process in self:
            process.send_signal(number)
        if not self:
            self.early.append(number)


@contextmanager
def _passed_on() -> Iterator[_Receiver]:
    """Inside, signals that would end us go to the program; how it takes them, it shows by its end."""
    receiver = _Receiver()
    before: dict[int, Any] = {}
    for name in ("SIGTERM", *_FROM_TERMINAL):
        number = getattr(signal, name, None)  # Windows has fewer
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, receiver.take)
    try:
        yield receiver
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _in_foreground() -> bool:
    """Whether a terminal sends its signals to this process and the program alike."""
    if not hasattr(os, "tcgetpgrp"):
        return True
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


# -- the total --------------------------------------------------------------------------------------


def _tell(where: str, path: str, refused: int, *, killed: bool) -> None:
    """What the run cost. That it cannot be told does not change how the program ended."""
    try:
        totals = None
        if not is_missing(where):
            with opened(where) as meter:
                totals = meter.engine.ledger.run_totals(path)
    except (FarthingError, Told, OSError) as error:
        _say(f"what the run cost is in the ledger, which cannot be read: {error}")
        return
    for line in _lines(totals, refused):
        _say(line)
    if killed:
        _say("it was killed: a call that still ran is booked when its lease has ended, within ten minutes")


def _lines(totals: Totals | None, refused: int) -> Iterator[str]:
    from farthing.answers.values import known_cost  # noqa: PLC0415  help needs none of it

    if totals is None or not totals.calls:
        yield "no calls"
    else:
        cost = known_cost(totals)
        least = ">= " if totals.unpriced or totals.partial else ""
        about = "" if cost is None else f"{least}{'~' if totals.estimated else ''}"
        cached = f" ({totals.cached_tokens:,} cached)" if totals.cached_tokens else ""
        yield (
            f"{_calls(totals.calls)}, {totals.input_tokens:,} input{cached} and "
            f"{totals.output_tokens:,} output tokens, cost {about}{usd(cost)}"
        )
        if totals.errors:
            yield f"{_calls(totals.errors)} of these failed and cost nothing"
        if totals.unpriced:
            yield f"no price is known for {_calls(totals.unpriced)}, whose cost is in no sum"
        if totals.partial:
            yield f"no price is known for a part of {_calls(totals.partial)}: the cost is a lower bound"
    if refused:
        yield f"{_calls(refused)} refused, which cost nothing"


def _calls(number: int) -> str:
    return f"{number:,} call{'' if number == 1 else 's'}"


def _say(line: str) -> None:
    click.echo(f"farthing: {one_line(line)}", err=True)
