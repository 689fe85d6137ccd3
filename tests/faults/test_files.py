"""Files that are removed, moved, replaced or taken away from a running process."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from farthing.errors import LedgerError, LedgerMoved
from farthing.records import Budget
from farthing.testing import FakeProvider
from faults.world import COST, ask, client_of, metered, python, spills

HARD = [Budget("all", 5)]


def test_a_ledger_that_is_moved_away_and_back_loses_nothing(
    ledger_path: Path, provider: FakeProvider, home: Path
) -> None:
    elsewhere = ledger_path.with_name("elsewhere")
    with metered(ledger_path) as meter:
        client = client_of(meter, provider)
        ask(client)
        ledger_path.rename(elsewhere)
        ask(client)
        with pytest.raises(LedgerMoved):
            ask(client_of(meter, provider, name="strict", budget="$5/day"))
        elsewhere.rename(ledger_path)
        ask(client)
        assert meter.engine.ledger.totals()[0].calls == 3
        assert meter.engine.ledger.check() == []
    assert spills(home) == []


def test_after_a_removal_no_call_is_lost_and_a_reopened_meter_goes_on(
    ledger_path: Path, provider: FakeProvider, home: Path
) -> None:
    meter = metered(ledger_path)
    client = client_of(meter, provider)
    ask(client)
    for file in ledger_path.parent.glob("ledger.db*"):
        file.unlink()
    ask(client)
    meter.close()
    [file] = spills(home)  # it is of the ledger that was removed, and waits for its backup
    ask(client)
    assert meter.engine.ledger.totals()[0].calls == 1
    assert meter.engine.ledger.check() == []
    meter.close()
    assert spills(home) == [file]


def test_a_ledger_that_is_restored_from_a_copy_gets_what_was_spilled_since(
    ledger_path: Path, provider: FakeProvider, home: Path, tmp_path: Path
) -> None:
    with metered(ledger_path) as meter:
        ask(client_of(meter, provider))
    copy = tmp_path / "copy.db"
    shutil.copy(ledger_path, copy)
    meter = metered(ledger_path)
    client = client_of(meter, provider)
    ask(client)  # the copy does not have it
    held = meter.reserve(model="gpt-4o", amount=1)
    for file in ledger_path.parent.glob("ledger.db*"):
        file.unlink()
    held.settle({"model": "gpt-4o", "usage": {"prompt_tokens": 5, "completion_tokens": 300}})
    ask(client)
    meter.close()
    shutil.copy(copy, ledger_path)
    with metered(ledger_path) as meter:
        rows = meter.engine.ledger.calls()
        assert [row["cost_nano"] for row in rows] == [COST] * 3
        assert [row["flags"] for row in reversed(rows)] == ["[]", '["spilled"]', '["ledger_error","spilled"]']
        assert meter.engine.ledger.check() == []
    assert spills(home) == []


def test_a_ledger_that_is_replaced_by_another_is_not_written(
    ledger_path: Path, provider: FakeProvider, tmp_path: Path
) -> None:
    other = tmp_path / "other.db"
    with metered(other) as meter:
        ask(client_of(meter, provider))
    meter = metered(ledger_path, budgets=HARD)
    client = client_of(meter, provider)
    ask(client)
    other.replace(ledger_path)
    with pytest.raises(LedgerMoved):
        ask(client)
    meter.close()
    assert len(provider.requests) == 2


NOBODY = """
import os, sys
from pathlib import Path
from farthing.errors import LedgerError
from farthing.testing import FakeProvider
from faults.world import *
path = Path(sys.argv[1])
with FakeProvider(usage=USAGE) as provider:
    if os.geteuid() == 0:  # who may write anything
        with metered(path.with_name("first.db")) as meter:
            ask(client_of(meter, provider))  # loads what nobody may not read
            meter.engine.ledger.check()
        for file in path.parent.iterdir():
            file.unlink()
        os.setegid(65534)
        os.seteuid(65534)
    before = len(provider.requests)
    meter = metered(path)
    client = client_of(meter, provider)
    ask(client)
    meter.close()
    path.parent.chmod(0o500)
    path.chmod(0o400)
    meter = metered(path)
    client = client_of(meter, provider)
    assert ask(client).choices
    try:
        ask(client_of(meter, provider, name="strict", budget="$5/day"))
    except LedgerError as error:
        assert "permissions" in str(error), error
    else:
        raise AssertionError("it was sent")
    assert len(provider.requests) == before + 2
    path.chmod(0o600)
    path.parent.chmod(0o700)
    ask(client)
    assert meter.engine.ledger.totals()[0].calls == 3, meter.engine.ledger.totals()
    assert meter.engine.ledger.check() == []
    meter.close()
print("ok", flush=True)
"""


def test_permissions_that_are_taken_away_are_an_error_that_says_so(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("modes are POSIX")
    with tempfile.TemporaryDirectory() as above:  # pytest's own folders are not open to nobody
        folder, spare = Path(above) / "mine", Path(above) / "spare"
        folder.mkdir()
        spare.mkdir()
        if os.geteuid() == 0:
            Path(above).chmod(0o711)
            os.chown(folder, 65534, 65534)
            os.chown(spare, 65534, 65534)
        process = python(NOBODY, folder / "ledger.db", HOME=str(folder), TMPDIR=str(spare))
        out, _ = process.communicate(timeout=60)
        folder.chmod(0o700)
        assert out == "ok\n"


def test_a_folder_that_is_removed_is_an_error_and_nothing_is_made_in_its_place(
    tmp_path: Path, provider: FakeProvider
) -> None:
    folder = tmp_path / "folder"
    meter = metered(folder / "ledger.db", budgets=HARD)
    client = client_of(meter, provider)
    ask(client)
    shutil.rmtree(folder)
    with pytest.raises(LedgerError):
        ask(client)
    meter.close()
    assert not folder.exists()
