"""The world as it may be: small disks, programs that hold a ledger, and meters in the middle of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from farthing import Meter
from farthing.testing import FakeProvider

MESSAGES = [{"role": "user", "content": "Say something."}]
CALL = {"model": "gpt-4o", "messages": MESSAGES, "max_tokens": 300}
USAGE = {"input_tokens": 5, "cached_tokens": 0, "output_tokens": 300}
COST = 5 * 2_500 + 300 * 10_000
"""Nano-dollars of one answer: gpt-4o is $2.50 and $10 per million tokens."""

PATIENCE = 60.0
"""Seconds after which a test that waits for something gives up."""


def metered(path: object, **options: Any) -> Meter:
    return Meter(path, **({"durability": "fast", "ledger_timeout": 20.0, "wait": 0} | options))


_clients: list[OpenAI] = []


def client_of(meter: Meter, provider: FakeProvider, **settings: Any) -> OpenAI:
    client = OpenAI(base_url=provider.base_url, api_key="test", max_retries=0)
    _clients.append(client)
    return meter.wrap(client, **settings)


def close_clients() -> None:
    """Those that `client_of` has made: collected in any order, their connections might complain first."""
    while _clients:
        _clients.pop().close()


def ask(client: OpenAI, **call: Any) -> Any:
    return client.chat.completions.create(**(CALL | call))


def spills(home: Path) -> list[Path]:
    """Files of the user's state folder that have calls for a ledger."""
    return sorted(home.rglob("*.spill"))


def python(code: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    """A Python process that can import the project and this module, and talks by lines."""
    root = Path(__file__).resolve().parents[2]
    paths = os.pathsep.join([str(root / "src"), str(root / "tests")])
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )


def says(process: subprocess.Popen[str]) -> str:
    """The next line of a process."""
    assert process.stdout
    return process.stdout.readline().strip()


def ended(process: subprocess.Popen[str]) -> None:
    """Kill a process, and wait until it is dead."""
    process.kill()
    process.communicate(timeout=PATIENCE)


@contextmanager
def small_disk(folder: Path, size: str = "2m") -> Iterator[Path]:
    """A file system of its own at `folder`; the test is skipped where that cannot be: nobody but root may
    mount one. Under CI it fails for root."""
    folder.mkdir()
    refused = ""
    if sys.platform != "linux" or not shutil.which("mount"):
        refused = "a small file system needs Linux and mount"
    else:
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            refused = f"mounting a small file system was refused: {made.stderr.strip()}"
    if refused:
        if os.environ.get("CI") == "true" and hasattr(os, "geteuid") and os.geteuid() == 0:
            pytest.fail(refused)
        pytest.skip(refused)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


SPILLS_AN_END = """
import sys
from farthing.errors import LedgerFull
from farthing.testing import FakeProvider
from faults.world import *
with FakeProvider(usage=USAGE) as provider:
    meter = metered(sys.argv[1])
    client = client_of(meter, provider, budget="$5/day")
    def fails(*_, **__):
        raise LedgerFull("no room")
    meter.engine.ledger.settle = fails
    ask(client)
    print("asked", flush=True)
    sys.stdin.readline()
"""
"""A program whose call has been held, and has ended while there was no room; it says so, and waits."""
