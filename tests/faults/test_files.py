"""Files that are removed, moved, replaced or taken away from a running process."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from farthing import InsufficientCredits, Meter
from farthing.errors import LedgerError, LedgerMoved
from farthing.ledger.writing import connection
from farthing.ledger.writing.lock import FileLock
from farthing.records import Budget
from farthing.testing import FakeProvider
from faults.world import COST, PATIENCE, ask, client_of, metered, python, says, spills

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


def admitted(meter: Meter, tries: int) -> int:
    """Of so many holds of a quarter of a dollar, how many were granted."""
    granted = 0
    for _ in range(tries):
        try:
            meter.reserve(model="gpt-4o", amount="0.25").settle(QUARTER)
        except (LedgerMoved, InsufficientCredits):
            continue
        granted += 1
    return granted


QUARTER = {"model": "gpt-4o", "usage": {"cost": 0.25, "prompt_tokens": 1, "completion_tokens": 1}}
RIVAL = """
import sys
from farthing.records import Budget
from faults.test_files import admitted
from faults.world import metered
with metered(sys.argv[1], budgets=[Budget("all", 1, "total")]) as meter:
    print(admitted(meter, 6), flush=True)
    sys.stdin.readline()
    print(admitted(meter, 6), flush=True)
"""


ONE = """
import sys
from farthing.records import Budget
from faults.test_files import admitted
from faults.world import metered
with metered(sys.argv[1], budgets=[Budget("all", 1, "total")]) as meter:
    print(admitted(meter, int(sys.argv[2])), flush=True)
"""


def looked_into(path: str) -> None:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


@pytest.mark.parametrize("guarded", [True, False], ids=["guarded", "control"])
def test_a_program_that_has_the_ledger_open_itself_keeps_its_log(
    ledger_path: Path, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    """Whoever closes any descriptor of the file drops the locks of a connection that is there: the control.
    Ours would believe in them, and the next program to end would remove the log under it."""
    with metered(ledger_path, budgets=[Budget("all", 1, "total")]) as first:
        first.warm()
    if not guarded:
        monkeypatch.setattr(connection, "make_file", looked_into)
    with closing(sqlite3.connect(ledger_path)) as own:
        own.execute("SELECT count(*) FROM calls").fetchone()
        meter = metered(ledger_path, budgets=[Budget("all", 1, "total")])
        assert admitted(meter, 1) == 1
        assert python(ONE, ledger_path, 1).communicate(timeout=PATIENCE)[0] == "1\n"
        assert admitted(meter, 1) == 1
        left = python(ONE, ledger_path, 6).communicate(timeout=PATIENCE)[0]
        assert (left == "1\n") is guarded
        meter.close()


@pytest.mark.parametrize("guarded", [True, False], ids=["guarded", "control"])
def test_after_a_removal_only_those_who_open_the_new_file_spend(
    ledger_path: Path, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    if not guarded:
        monkeypatch.setattr(FileLock, "check_place", lambda *_: None)
    meter = metered(ledger_path, budgets=[Budget("all", 1, "total")])
    assert admitted(meter, 2) == 2
    for file in ledger_path.parent.glob("ledger.db*"):
        file.unlink()
    rival = python(RIVAL, ledger_path)
    assert says(rival) == "4"
    assert admitted(meter, 6) == (0 if guarded else 2)
    assert rival.communicate("\n", timeout=PATIENCE)[0] == "0\n"
    meter.close()


def test_two_programs_whose_ledger_is_moved_spend_nothing_until_it_is_back_and_one_limit_then(
    ledger_path: Path,
) -> None:
    with metered(ledger_path, budgets=[Budget("all", 2, "total")]) as meter:
        assert admitted(meter, 1) == 1
        elsewhere = ledger_path.with_name("elsewhere")
        rival = python(RIVAL.replace('"all", 1', '"all", 2'), ledger_path)
        assert says(rival) == "6"
        ledger_path.rename(elsewhere)
        assert admitted(meter, 6) == 0
        elsewhere.rename(ledger_path)
        assert rival.communicate("\n", timeout=PATIENCE)[0] == "1\n"
        assert admitted(meter, 6) == 0
        [window] = meter.engine.ledger.windows()
        assert (window.held, window.spent, meter.engine.ledger.check()) == (0, 2 * 10**9, [])


@pytest.mark.parametrize("foreign", ["text", "database"])
def test_a_foreign_file_is_left_as_it_is_and_only_calls_without_a_hard_budget_go_on(
    ledger_path: Path, provider: FakeProvider, home: Path, foreign: str
) -> None:
    if foreign == "text":
        ledger_path.write_text("my diary\n" * 1_000, encoding="utf-8")
    else:
        with closing(sqlite3.connect(ledger_path)) as conn:
            conn.execute("CREATE TABLE diary (day TEXT)")
            conn.commit()
    content = ledger_path.read_bytes()
    with metered(ledger_path) as meter:
        assert ask(client_of(meter, provider)).choices
        with pytest.raises(LedgerError):
            ask(client_of(meter, provider, name="strict", budget="$5/day"))
        with pytest.raises(LedgerError):
            meter.reports.summary()
    assert len(provider.requests) == 1
    assert ledger_path.read_bytes() == content
    assert len(spills(home)) == 1
    ledger_path.unlink()
    with metered(ledger_path) as meter:
        ask(client_of(meter, provider, budget="$5/day"))
        assert [row["cost_nano"] for row in meter.engine.ledger.calls()] == [COST] * 2
        assert meter.engine.ledger.check() == []


def mounted(patch: pytest.MonkeyPatch, folder: Path, kind: str) -> None:
    """What the kernel says: that `folder` is on a file system of this kind."""
    device = folder.stat().st_dev
    told = (
        f"21 1 254:1 / / rw,relatime - ext4 /dev/root rw\n"
        f"36 21 {os.major(device)}:{os.minor(device)} /export /mnt rw,noatime shared:5 master:1 - {kind} "
        f"server:/export rw,vers=4.2\n"
    )
    read_text = Path.read_text
    patch.setattr(
        Path,
        "read_text",
        lambda path, *args, **options: (
            told if str(path) == "/proc/self/mountinfo" else read_text(path, *args, **options)
        ),
    )


NETWORK = ["nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "lustre", "fuse.sshfs", "fuse.rclone"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says what is mounted where")
@pytest.mark.parametrize("kind", NETWORK)
def test_a_network_file_system_is_refused_with_a_sentence_that_names_postgresql(
    ledger_path: Path, provider: FakeProvider, home: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    with monkeypatch.context() as patch, metered(ledger_path) as meter:
        mounted(patch, ledger_path.parent, kind)
        with pytest.raises(LedgerError, match=rf"network file system \({kind}\).*PostgreSQL"):
            ask(client_of(meter, provider, name="strict", budget="$5/day"))
        assert provider.requests == []
        assert ask(client_of(meter, provider)).choices
        assert not ledger_path.exists()
    assert len(spills(home)) == 1
    with metered(ledger_path) as meter:  # it is a local one after all
        assert meter.reports.summary().calls == 1
    assert spills(home) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says what is mounted where")
@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "overlay", "tmpfs", "fuseblk", "fuse.ntfs"])
def test_a_local_file_system_is_taken(ledger_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    mounted(monkeypatch, ledger_path.parent, kind)
    with metered(ledger_path) as meter:
        meter.reserve(model="gpt-4o", amount=1).void()


def test_a_ledger_with_two_names_is_refused_until_it_has_one(
    ledger_path: Path, provider: FakeProvider, home: Path
) -> None:
    """Each name has a log of its own: what is written under one is not seen under the other."""
    other = ledger_path.with_name("other.db")
    with metered(ledger_path) as meter:
        assert ask(client_of(meter, provider, budget="$5/day")).choices
        os.link(ledger_path, other)
        with metered(other) as second, pytest.raises(LedgerError, match=r"has 2 names \(hard links\)"):
            ask(client_of(second, provider, name="other", budget="$5/day"))
        other.unlink()
        assert ask(client_of(meter, provider, budget="$5/day")).choices
        assert meter.engine.ledger.check() == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says what is mounted where")
def test_a_ledger_that_is_mounted_by_itself_is_refused(
    ledger_path: Path, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = ledger_path.with_name("a ledger.db")
    point = str(odd).replace(" ", "\\040")
    told = f"21 1 254:1 / / rw - ext4 /dev/root rw\n36 21 254:1 /x {point} rw - ext4 /dev/root rw\n"
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: told)
    with metered(odd) as meter, pytest.raises(LedgerError, match=r"is mounted by itself.*Mount the folder"):
        ask(client_of(meter, provider, budget="$5/day"))
    assert not odd.exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says what is mounted where")
def test_where_the_kernel_does_not_say_what_is_mounted_the_ledger_is_taken(
    ledger_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_text = Path.read_text

    def hidden(path: Path, *args: Any, **options: Any) -> str:
        if str(path) == "/proc/self/mountinfo":
            raise PermissionError(str(path))
        return read_text(path, *args, **options)

    monkeypatch.setattr(Path, "read_text", hidden)
    with metered(ledger_path) as meter:
        meter.reserve(model="gpt-4o", amount=1).void()
