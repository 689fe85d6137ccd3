"""The command line. Importing it costs nothing: all of it is loaded by `main`."""

from __future__ import annotations

import io
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command that the arguments name, and exit: 0 if all went well, 1 for an error (one line on
    stderr), 2 for wrong usage, 3 if a call was refused, 130 after Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not stream.encoding.lower().startswith("utf"):
            stream.reconfigure(errors="backslashreplace")
    try:
        from farthing.cli.app import app  # noqa: PLC0415  click is loaded by those who run a command

        app(prog_name="farthing")
    except KeyboardInterrupt:
        sys.stderr.write("farthing: interrupted\n")
        sys.exit(130)
