"""What a command says when it does not do what was asked: one line on stderr, and an exit status."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import IO, Any

import click

from farthing.cli.text import one_line
from farthing.errors import FarthingError, Refused

__all__ = ["Told", "told"]

INTERRUPTED = 130
REFUSED = 3


class Told(click.ClickException):
    """An end of a command that has been put into words."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """What the command exits with."""
        return self.status

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line."""
        click.echo(f"farthing: {one_line(self.message)}", file=file, err=file is None)


def told(error: BaseException) -> Told:
    """In words: errors of farthing and of the system by what they say, anything else by where it happened.

    What other errors say is left out, as it may hold a piece of a prompt; `python -X dev -m farthing` shows
    the traceback.
    """
    if isinstance(error, KeyboardInterrupt):
        return Told("interrupted", INTERRUPTED)
    if isinstance(error, Refused):
        return Told(str(error), REFUSED)
    if isinstance(error, FarthingError):
        return Told(str(error))
    if isinstance(error, ModuleNotFoundError):
        return Told(f"the package {error.name!r} is missing: install farthing anew, with what it depends on")
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename is not None else ""
        return Told(f"{where}{error.strerror or type(error).__name__}")
    if sys.flags.dev_mode:
        raise error
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return Told(
        f"this should not happen: {type(error).__name__} in {frame.name} ({Path(frame.filename).name}:"
        f"{frame.lineno}); `python -X dev -m farthing` shows more"
    )
