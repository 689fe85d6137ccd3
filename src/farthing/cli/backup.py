"""`farthing backup`."""

from __future__ import annotations

from pathlib import Path

import click

from farthing.cli.options import asked, output_options
from farthing.cli.sheet import Column, Field, Sheet, emit
from farthing.cli.told import Told

__all__ = ["backup"]


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@output_options
def backup(file: Path, ledger: str | None, form: str | None) -> None:
    """Write a sound copy of the ledger to FILE, which must not be there yet.

    Programs may go on making calls: it is the ledger as it was at one instant, without unused space.
    """
    if not file.absolute().parent.is_dir():
        raise Told(f"{file}: there is no such folder")
    with asked(ledger) as meter:
        size = meter.engine.ledger.backup(str(file))
        path = meter.engine.ledger.where
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
