"""`farthing demo`."""

from __future__ import annotations

from pathlib import Path

import click

from farthing.cli.options import ledger_option

__all__ = ["demo"]


@click.command()
@ledger_option
def demo(ledger: str | None) -> None:
    """Show what farthing does, in a few seconds.

    Without a key and without a network: a pretended provider answers on this machine. The calls go to a
    ledger of their own, in a temporary folder unless --ledger names one.
    """
    from farthing import demo as show  # noqa: PLC0415  it loads the SDK

    show.run(None if ledger is None else Path(ledger))
