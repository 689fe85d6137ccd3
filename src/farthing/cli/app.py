"""The command `farthing` and the list of its verbs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from farthing.cli.backup import backup
from farthing.cli.budget import budget
from farthing.cli.calls import calls
from farthing.cli.demo import demo
from farthing.cli.doctor import doctor
from farthing.cli.estimate import estimate
from farthing.cli.importing import importing
from farthing.cli.prices import prices
from farthing.cli.prune import prune
from farthing.cli.report import report
from farthing.cli.reprice import reprice
from farthing.cli.run import run
from farthing.cli.settle import settle
from farthing.cli.told import Told, told

__all__ = ["app"]

WRONG_USAGE = 2


class _App(click.Group):
    """Every end of a command is an exit status and, if it is no good one, one line on stderr."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except (Exception, KeyboardInterrupt) as error:
            raise told(error) from error

    def main(self, *args: Any, **extra: Any) -> Any:
        standalone = extra.pop("standalone_mode", True)
        run: Callable[..., Any] = super().main
        try:
            status = run(*args, standalone_mode=False, **extra)
        except click.UsageError as error:
            path = error.ctx.command_path if error.ctx is not None else "farthing"
            Told(f"{error.format_message()} (see `{path} --help`)").show()
            status = WRONG_USAGE
        except click.ClickException as error:
            error.show()
            status = error.exit_code
        except click.Abort:
            status = told(KeyboardInterrupt()).exit_code
        if not standalone:
            return status
        sys.exit(status)


@click.group(cls=_App, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(None, "--version", package_name="farthing", message="farthing %(version)s")
@click.pass_context
def app(ctx: click.Context) -> None:
    """What your LLM calls cost: reports, budgets and prices, from the ledger on this machine.

    At a terminal you get a table, in a pipe JSON.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


_COMMANDS = (
    demo, run, estimate, report, calls, budget, prices, reprice, importing, doctor, backup, prune,
)  # fmt: skip

for _command in _COMMANDS:
    app.add_command(_command)
calls.add_command(settle)
