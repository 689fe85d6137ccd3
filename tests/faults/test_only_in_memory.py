"""Where neither the ledger nor a spill file can be written, a process does not end in silence."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import pytest
from openai import InternalServerError

from farthing.engine.overdue import Overdue
from farthing.testing import FakeProvider, Reply
from faults.world import COST, PATIENCE, ask, client_of, metered, python

SAID = "are in the memory of this process only"

ASKS = """
import logging, sys
from farthing.testing import FakeProvider
from faults.world import *
logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")
with FakeProvider(usage=USAGE) as provider:
    meter = metered(sys.argv[1])
    client = client_of(meter, provider)
    for _ in range(3):
        ask(client)
    client.close()
if sys.argv[2] == "closed":
    meter.close()
print("end", flush=True)
"""


@pytest.fixture
def nowhere(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of a ledger in a folder that is none; nor can any folder for spills be made."""
    user = os.geteuid() if hasattr(os, "geteuid") else "user"
    in_the_way = tmp_path / "folder"
    for file in (in_the_way, home / ".local", tmp_path / f"farthing-{user}"):
        file.write_text("in the way")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return in_the_way / "ledger.db"


def critical(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno == logging.CRITICAL]


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the folders are those of Linux")


@pytest.mark.parametrize("told", [True, False], ids=["told", "control"])
def test_calls_that_are_only_in_memory_are_counted_when_the_meter_is_closed(
    nowhere: Path, provider: FakeProvider, caplog: pytest.LogCaptureFixture, told: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if not told:
            patch.setattr(Overdue, "part", lambda _: None)
        with metered(nowhere) as meter:
            client = client_of(meter, provider)
            for _ in range(3):
                ask(client)
            assert critical(caplog) == []
        said = critical(caplog)
        meter.close()
    assert critical(caplog) == said
    assert [text.startswith("3 calls " + SAID) for text in said] == [True] * told
    assert all("($0.0090375 as far as is known, unknown for 0 of them)" in text for text in said)


@pytest.mark.parametrize("how", ["exit", "closed"])
def test_the_end_of_the_process_says_it_once(nowhere: Path, how: str) -> None:
    process = python(ASKS, nowhere, how, TMPDIR=os.environ["TMPDIR"], HOME=os.environ["HOME"])
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    lines = [line for line in said.splitlines() if SAID in line]
    assert len(lines) == 1
    assert lines[0].startswith("CRITICAL 3 calls are in the memory")
    assert said.splitlines().index(lines[0]) == said.splitlines().index("end") + (1 if how == "exit" else -1)


def test_a_call_that_still_runs_has_a_cost_that_nobody_knows(
    nowhere: Path, provider: FakeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    with metered(nowhere) as meter:
        client = client_of(meter, provider)
        provider.script(Reply(body=b"no answer", status=502))
        with pytest.raises(InternalServerError):
            ask(client)
        hold = meter.reserve(model="gpt-4o", amount="0.25")
        hold.sent()
        meter.close()
        [said] = critical(caplog)
        assert said.startswith("2 calls")
        assert "unknown for 1 of them" in said
        hold.settle({"input_tokens": 5, "output_tokens": 300})
        meter.close()
        assert "unknown for 0 of them" in critical(caplog)[-1]


def test_a_ledger_that_can_be_used_by_then_is_opened_for_them(
    nowhere: Path, provider: FakeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    with metered(nowhere) as meter:
        client = client_of(meter, provider)
        for _ in range(3):
            ask(client)
        nowhere.parent.unlink()
        nowhere.parent.mkdir()
    assert critical(caplog) == []
    with metered(nowhere) as after:
        assert [row["cost_nano"] for row in after.engine.ledger.calls()] == [COST] * 3
        assert after.engine.ledger.check() == []
