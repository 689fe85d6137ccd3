"""`farthing import`."""

from __future__ import annotations

import contextlib
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

from farthing.cli.options import opened, output_options, piped
from farthing.cli.sheet import Column, Field, Sheet, emit
from farthing.cli.told import INTERRUPTED, Told
from farthing.errors import FarthingError, LedgerError, TransactionConflict

if TYPE_CHECKING:
    from farthing.cli.intake import Item, Source
    from farthing.engine import Made
    from farthing.meter.meter import Meter

__all__ = ["importing"]

_CHUNK: Final = 500
_MOST_FAULTS: Final = 1_000
"""Faults that are listed; all are counted."""


@dataclass(slots=True)
class _Taken:
    """What has become of the records so far."""

    new: int = 0
    known: int = 0
    broken: int = 0
    unbilled: int = 0
    without_id: int = 0
    without_date: int = 0
    faults: list[tuple[int, str]] = field(default_factory=list)

    def fault(self, place: int, reason: str) -> None:
        self.broken += 1
        if len(self.faults) < _MOST_FAULTS:
            self.faults.append((place, reason))

    @property
    def booked(self) -> int:
        return self.new + self.known


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--provider", metavar="NAME", help="Of records that name none.")
@click.option("--model", metavar="NAME", help="The same.")
@output_options
def importing(
    file: str, provider: str | None, model: str | None, ledger: str | None, form: str | None
) -> None:
    """Book calls that were made elsewhere: response bodies in FILE, or - for what is piped in.

    FILE is JSON (one object or a list) or JSON Lines. Each record is the response body of any provider, with
    "provider", "date" and "account" beside its fields if you like, or {"body": {...}, "provider": ...,
    "date": ..., "account": ..., "id": ...}. A date is 2026-11-21, an instant with its offset from UTC, or
    seconds since 1970. The file that a batch of OpenAI, Anthropic, Google or Bedrock ends in is taken as it
    is, at batch rates.

    The same file again books nothing twice. What is broken is skipped and listed, the rest is taken; the exit
    status is 1 then.
    """
    taken = _Taken()
    with _bytes_of(file) as (stream, path), opened(ledger, make=True) as meter:
        try:
            usual = {name: said for name, said in (("provider", provider), ("model", model)) if said}
            _take(meter, stream, path, usual, taken)
        except (KeyboardInterrupt, LedgerError) as error:
            if not taken.booked:
                raise
            so_far = f"{taken.booked:,} records are booked; import the file again to go on"
            if isinstance(error, KeyboardInterrupt):
                raise Told(f"interrupted; {so_far}", INTERRUPTED) from None
            raise Told(f"{error} {so_far}") from None
    emit(_sheet(taken, form), form)
    beside = f"; {_booked(taken)}" if form == "csv" else ""  # whose rows are what is broken, and nothing else
    if taken.broken:
        every = taken.booked + taken.broken
        raise Told(f"{taken.broken:,} of {every:,} records could not be booked{beside}")
    if beside:
        Told(f"{_booked(taken)}, 0 broken").show()


@contextlib.contextmanager
def _bytes_of(file: str) -> Iterator[tuple[BinaryIO, Path | None]]:
    """The bytes, and the path if it can be read more than once."""
    if file == "-":
        yield piped(), None
        return
    path = Path(file)
    with path.open("rb") as stream:
        yield stream, path if stat.S_ISREG(path.stat().st_mode) else None


def _take(meter: Meter, stream: BinaryIO, path: Path | None, usual: Mapping[str, str], taken: _Taken) -> None:
    from farthing.cli.intake import Source, items  # noqa: PLC0415  help needs none of it

    _ = meter.engine.ledger  # what is wrong with it is told before the file is read
    source = Source(stream, path, usual)
    chunk: list[tuple[int, Made]] = []
    with _progress(path) as moved:
        for item in items(source):
            made = _made(meter, item, source, taken)
            if made is not None:
                chunk.append((item.place, made))
            if len(chunk) >= _CHUNK:
                _book(meter, chunk, taken)
                chunk.clear()
                moved(source.taken, taken)
        _book(meter, chunk, taken)
        moved(source.taken, taken)


def _made(meter: Meter, item: Item, source: Source, taken: _Taken) -> Made | None:
    """What a record says, or None with the fault noted."""
    from farthing.cli.intake import Faulty, Unbilled, call_of  # noqa: PLC0415

    if isinstance(item.record, Faulty):
        taken.fault(item.place, str(item.record))
        return None
    try:
        call = call_of(item.record, item.place, source)
        made = meter.made(**call.arguments)
    except Unbilled:
        taken.unbilled += 1
        return None
    except Faulty as fault:
        taken.fault(item.place, str(fault))
        return None
    except FarthingError as error:
        taken.fault(item.place, str(error).partition("; got ")[0])  # what follows is the record's own
        return None
    except Exception as error:  # noqa: BLE001  one record must not keep the others out
        taken.fault(item.place, f"could not be read ({type(error).__name__})")
        return None
    if "operation" not in call.arguments:
        made.operation = call.operation
    made.flags = ("imported",)
    taken.without_id += not call.has_id
    taken.without_date += not call.has_date
    return made


def _book(meter: Meter, chunk: list[tuple[int, Made]], taken: _Taken) -> None:
    if not chunk:
        return
    answers = meter.record_many([made for _, made in chunk])
    for (place, _), answer in zip(chunk, answers, strict=True):
        if isinstance(answer, TransactionConflict):
            taken.fault(place, "was booked before with other content")
        elif isinstance(answer, Exception):
            taken.fault(place, f"could not be booked ({type(answer).__name__})")
        elif answer[1]:
            taken.new += 1
        else:
            taken.known += 1


@contextlib.contextmanager
def _progress(path: Path | None) -> Iterator[Callable[[int, _Taken], None]]:
    """A bar on stderr, where somebody may be looking at it."""
    if not sys.stderr.isatty():
        yield _unseen
        return
    from rich import progress  # noqa: PLC0415  only where a person looks
    from rich.console import Console  # noqa: PLC0415

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None if path is None else path.stat().st_size)

        def moved(done: int, taken: _Taken) -> None:
            bar.update(task, completed=done, description=f"{taken.booked:,} booked")

        yield moved


def _unseen(done: int, taken: _Taken) -> None:
    """Nobody is looking."""


def _booked(taken: _Taken) -> str:
    return f"{taken.new:,} new, {taken.known:,} already there"


def _sheet(taken: _Taken, form: str | None) -> Sheet:
    left_out = taken.broken - len(taken.faults)
    told = f"{_booked(taken)}, {taken.broken:,} broken"
    notes = [f"... and {left_out:,} more."] if left_out else []
    if form == "markdown":  # which has no title
        notes.append(f"{told}.")
    if taken.unbilled:
        notes.append(f"{_records(taken.unbilled)} of failed requests, which are not billed: left out.")
    if taken.without_id:
        notes.append(
            f"{_records(taken.without_id)} without an id: known again only by the place in this very file, "
            f"so a changed copy of it would book them anew."
        )
    if taken.without_date:
        notes.append(f"{_records(taken.without_date)} without a date: booked at the time of the import.")
    document: dict[str, Any] = {
        "new": taken.new,
        "alreadyThere": taken.known,
        "broken": taken.broken,
        "notBilled": taken.unbilled,
        "withoutId": taken.without_id,
        "withoutDate": taken.without_date,
        "errors": [{"line": place, "reason": reason} for place, reason in taken.faults],
        "errorsLeftOut": left_out,
    }
    return Sheet(
        fields=[Field("line", lambda fault: fault[0]), Field("reason", lambda fault: fault[1])],
        columns=[
            Column("Line", lambda fault: f"{fault[0]:,}", number=True),
            Column("Not booked, because it", lambda fault: fault[1]),
        ],
        rows=taken.faults,
        title=told,
        notes=notes,
        document=document,
    )


def _records(number: int) -> str:
    return f"{number:,} record{'' if number == 1 else 's'}"
