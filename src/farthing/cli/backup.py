"""`farthing backup`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from farthing.cli.options import asked, output_options
from farthing.cli.sheet import Column, Field, Sheet, emit
from farthing.cli.told import Told

if TYPE_CHECKING:
    from farthing.ledger import Ledger
    from farthing.meter.meter import Meter

__all__ = ["backup"]


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@output_options
def backup(file: Path, ledger: str | None, form: str | None) -> None:
    """Write a sound copy of the ledger to FILE, which must not be there yet.

    Programs may go on making calls: it is the ledger as it was at one instant, without unused space.
    """
    _checked_name(file)
    if not file.absolute().parent.is_dir():
        raise Told(f"{file}: there is no such folder")
    with asked(ledger) as meter, closing(_opened(meter)) as source:
        size = source.backup(str(file))
        path = source.where
    emit(
        Sheet(
            fields=[Field("file", lambda row: row[0]), Field("bytes", lambda row: row[1])],
            columns=[
                Column("Copied to", lambda row: row[0]),
                Column("Bytes", lambda row: f"{row[1]:,}"),
            ],
            rows=[(str(file), size)],
            document={"ledger": path, "file": str(file), "bytes": size},
        ),
        form,
    )


def _opened(meter: Meter) -> Ledger:
    """Aside from the engine, which asks for budgets: one of an older release can be copied, and no more."""
    from farthing.ledger import open_ledger  # noqa: PLC0415  for this command only

    clock = meter.engine.clock
    return open_ledger(meter.ledger_path, clock=clock, timeout=meter.ledger_timeout, read_only=True)


def _checked_name(file: Path) -> None:
    """Raise click.BadParameter for what can be no name of a ledger."""
    if not file.name:  # as of a variable that is not set
        raise click.BadParameter("it names no file", param_hint="'FILE'")
    try:
        str(file).encode()
    except UnicodeEncodeError:
        raise click.BadParameter("a ledger's name must be in UTF-8", param_hint="'FILE'") from None
