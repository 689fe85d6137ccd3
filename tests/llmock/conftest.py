"""A provider that others have written: `llmock`, as a process of its own on the loopback interface."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import re
import subprocess
import sys
import threading

import pytest

from farthing import Meter
from intercept.kit import Kit

_SERVE = (
    "from llmock.cli import app; app()",
    *("serve", "--host", "127.0.0.1", "--port", "0", "--response-style", "hello", "--tool-mode", "off"),
)
_LISTENS = re.compile(r"Uvicorn running on (http://127\.0\.0\.1:\d+)")


@pytest.fixture(scope="session")
def llmock(tmp_path_factory):
    """The address of the server. It takes any free port, and says which when it is ready."""
    _needs("llmock")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LLMOCK_")}
    process = subprocess.Popen(
        [sys.executable, "-c", *_SERVE],
        cwd=tmp_path_factory.mktemp("llmock"),
        env=environ | {"PYTHONIOENCODING": "utf-8"},  # it greets with more than ASCII
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    late = threading.Timer(60, process.kill)
    late.start()
    log = threading.Thread(target=process.stderr.read, daemon=True)  # unread, it would fill the pipe
    try:
        said = []
        for line in process.stderr:
            said.append(line)
            if found := _LISTENS.search(line):
                break
        else:
            pytest.fail("llmock did not start: " + "".join(said))
        late.cancel()
        log.start()
        yield found[1]
        process.terminate()
        log.join(30)
    finally:
        late.cancel()
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.fixture
def anthropic():
    """The other SDK of this make."""
    _needs("anthropic")
    return importlib.import_module("anthropic")


def _needs(distribution):
    """Skips where a package of the extra `test` is not installed; in CI that is a failure."""
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        said = f"{distribution} is not installed: pip install -e '.[test]'"
        pytest.fail(said) if os.environ.get("CI") else pytest.skip(said)


@pytest.fixture
def meter(ledger_path):
    made = Meter(ledger_path, durability="fast")
    yield made
    made.close()


@pytest.fixture(params=["sync", "async"])
def kit(request, provider, meter):
    made = Kit(request.param, provider, meter)
    yield made
    made.finish()
