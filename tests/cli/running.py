"""The command as users run it: a process whose output is a pipe, or a terminal of so many columns."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from farthing.cli.app import app
from program import Program

ROOT = Path(__file__).resolve().parents[2]

COMMAND = [sys.executable, "-W", "error", "-m", "farthing"]
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "NO_COLOR"}}
    return {**kept, "PYTHONPATH": str(ROOT / "src"), "TERM": "xterm", **more}


@dataclass(frozen=True)
class Ended:
    status: int
    out: str
    err: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.out, parse_float=Decimal)


def farthing(*arguments: object, stdin: str | bytes = b"", cwd: Path | None = None, **env: str) -> Ended:
    """Run it with its output in a pipe."""
    given = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        input=given,
        capture_output=True,
        env=environment(**env),
        cwd=cwd,
        check=False,
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


def at_terminal(*arguments: object, columns: int = 80, **env: str) -> Ended:
    """Run it at a terminal; `out` is all that is shown there, without colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with Program(
        [*COMMAND, *map(str, arguments)], stdin=theirs, stdout=theirs, stderr=theirs, env=environment(**env)
    ) as process:
        os.close(theirs)
        seen = shown_until(ours, None)
        status = process.wait()
    os.close(ours)
    return Ended(status, _CONTROL.sub("", seen.decode()).replace("\r\n", "\n"))


def shown_until(terminal: int, words: bytes | None) -> bytes:
    """What a terminal shows up to the words, or to its end."""
    seen = bytearray()
    while (words is None or words not in seen) and (piece := _read(terminal)):
        seen += piece
    return bytes(seen)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # Linux says so when nobody has the other end open any more
        return b""


def within(*arguments: object, stdin: str = "", **env: str) -> Ended:
    """Run it in this process, as if its output were in a pipe: for many small questions."""
    done = CliRunner(env=env).invoke(app, [*map(str, arguments)], input=stdin, prog_name="farthing")
    return Ended(done.exit_code, done.stdout, done.stderr)


def told(ended: Ended) -> str:
    """The one line on stderr."""
    [line] = ended.err.splitlines()
    assert line.startswith("farthing: ")
    assert "Traceback" not in line
    return line.removeprefix("farthing: ")
