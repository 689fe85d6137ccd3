"""Pages of a ledger that are not what was written: of every kind, damaged in several ways."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from farthing.errors import LedgerCorrupt, LedgerError
from farthing.ledger.calls.summing import Summing
from farthing.ledger.sqlite import SqliteLedger
from farthing.records import Budget
from farthing.testing import FakeProvider
from faults.world import COST, ask, client_of, metered, spills
from ledger.making import opened, reserved, settlement, with_budget

_KINDS = {2: "interior of index", 5: "interior", 10: "leaf of index", 13: "leaf"}
"""The first byte of a page of a b-tree (https://sqlite.org/fileformat2.html#b_tree_pages)."""


@dataclass(frozen=True)
class Page:
    number: int
    """From 1."""
    of: str
    kind: str


def pages(path: Path) -> list[Page]:
    """Every page of every b-tree. The ledger is closed."""
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("PRAGMA journal_mode = DELETE")
        roots = conn.execute("SELECT name, rootpage FROM sqlite_schema WHERE rootpage > 0").fetchall()
    content = path.read_bytes()
    return [page for name, root in [("sqlite_schema", 1), *roots] for page in _below(content, name, root)]


def _below(content: bytes, name: str, number: int) -> Iterator[Page]:
    size = size_of(content)
    page = content[(number - 1) * size : number * size]
    head = 100 if number == 1 else 0
    yield Page(number, name, _KINDS[page[head]])
    if page[head] in {2, 5}:
        cells = int.from_bytes(page[head + 3 : head + 5], "big")
        places = [
            int.from_bytes(page[head + 12 + 2 * i : head + 14 + 2 * i], "big") for i in range(cells)
        ] + [head + 8]
        for place in places:
            yield from _below(content, name, int.from_bytes(page[place : place + 4], "big"))


def size_of(content: bytes) -> int:
    return int.from_bytes(content[16:18], "big")


@dataclass(frozen=True)
class Sound:
    """A ledger of 300 calls as it is, and as it was before the last 20 of them."""

    path: Path
    content: bytes
    before: bytes
    pages: list[Page]

    def places(self, of: str, kind: str) -> list[int]:
        """Where such pages lie; the last has the newest rows."""
        found = [page.number for page in self.pages if (page.of, page.kind) == (of, kind)]
        assert found, f"there is no {kind} of {of}: {sorted({(p.of, p.kind) for p in self.pages})}"
        return [(number - 1) * size_of(self.content) for number in found]

    def damage(self, at: int, page: bytes) -> None:
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        self.path.write_bytes(self.content[:at] + page + self.content[at + len(page) :])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Sound:
    path = tmp_path_factory.mktemp("built") / "ledger.db"

    def more(calls: int) -> None:
        ledger = opened(path)
        bounds = [with_budget(ledger, Budget(name, 1_000_000)) for name in ("all", "more")]
        for number in range(calls):
            ledger.settle(reserved(ledger, bounds, transaction_id=f"{calls}-{number}"), settlement())
        ledger.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Summing, "often", 10)
        patch.setattr(Summing, "latest", 5)
        more(280)
        ledger = opened(path)
        with_budget(ledger, Budget("later", 1_000_000))  # of what has been spent already
        ledger.close()
        before = path.read_bytes()
        more(20)
    found = pages(path)
    return Sound(path, path.read_bytes(), before, found)


@pytest.fixture
def sound(built: Sound, ledger_path: Path) -> Sound:
    return replace(built, path=ledger_path)


def everything(path: Path) -> None:
    """All that a program does with a ledger, and what proves it.

    Raises:
        LedgerError: if it cannot be used, or does not add up.
    """
    ledger = opened(path)
    try:
        bound = with_budget(ledger, Budget("all", 1_000_000))
        ledger.settle(reserved(ledger, [bound]), settlement())
        assert ledger.totals()[0].calls > 0
        ledger.calls(limit=100_000)
        ledger.windows()
        if faults := ledger.check():
            raise LedgerCorrupt(faults[0])
    finally:
        with suppress(LedgerError):
            ledger.close()


def noise(old: bytes, sound: Sound, at: int) -> bytes:
    return random.Random(at).randbytes(len(old))


def zeros(old: bytes, sound: Sound, at: int) -> bytes:
    return bytes(len(old))


def torn(old: bytes, sound: Sound, at: int) -> bytes:
    """The first half was written, the second is what was there before: cells are at the end of a page."""
    half = len(old) // 2
    return old[:half] + bytes(len(old) - half)


def misplaced(old: bytes, sound: Sound, at: int) -> bytes:
    """What belongs to another page of the same file."""
    others = [sound.places(of, "leaf")[0] for of in ("budget_window", "name")]
    other = others[0] if others[0] != at else others[1]
    return sound.content[other : other + len(old)]


def lost(old: bytes, sound: Sound, at: int) -> bytes:
    """A write that the disk has forgotten: the page is what it was."""
    return sound.before[at : at + len(old)]


PLACES = [
    ("sqlite_schema", "interior"),
    ("sqlite_schema", "leaf"),
    ("call", "interior"),
    ("call", "leaf"),
    ("call_transaction", "interior of index"),
    ("call_transaction", "leaf of index"),
    ("more_line", "interior of index"),
    ("more_line", "leaf of index"),
    ("window_set", "leaf"),
    ("set_line", "leaf of index"),
    ("budget_window", "leaf"),
    ("day_sum", "leaf of index"),
    ("name", "leaf"),
    ("budget", "leaf"),
    ("meta", "leaf of index"),
]
CHANGED = [PLACES[2], PLACES[3], PLACES[5], PLACES[10], PLACES[11]]
"""Places that the last calls have changed, so that a write can be lost there."""


@pytest.mark.parametrize(
    ("damage", "place"),
    [
        *((damage, place) for damage in (noise, zeros, torn, misplaced) for place in PLACES),
        *((lost, place) for place in CHANGED),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else value.__name__,
)
def test_a_damaged_page_is_an_error_or_a_fault_that_check_finds_and_a_restored_one_works_again(
    sound: Sound, damage: Callable[[bytes, Sound, int], bytes], place: tuple[str, str]
) -> None:
    size = size_of(sound.content)
    for at in reversed(sound.places(*place)):
        old = sound.content[at : at + size]
        new = damage(old, sound, at)
        if new and new != old:
            break
    else:
        pytest.fail("nothing is damaged")
    sound.damage(at, new)
    with pytest.raises(LedgerError):
        everything(sound.path)
    sound.damage(at, old)
    everything(sound.path)


def test_a_page_that_was_lost_is_not_noticed_without_check(
    sound: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    monkeypatch.setattr(SqliteLedger, "check", lambda _: [])
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        test_a_damaged_page_is_an_error_or_a_fault_that_check_finds_and_a_restored_one_works_again(
            sound, lost, ("budget_window", "leaf")
        )


@pytest.mark.parametrize(
    ("at", "value"),
    [
        pytest.param(0, b"SQLite format 4\0", id="magic"),
        pytest.param(16, b"\x07\x00", id="page size"),
        pytest.param(18, b"\x09\x09", id="version"),
        pytest.param(20, b"\xff", id="reserved bytes"),
        pytest.param(21, b"\x00\x00\x00", id="payload fractions"),
        pytest.param(44, b"\x00\x00\x00\x63", id="schema format"),
        pytest.param(100, b"\x00", id="kind of the first page"),
    ],
)
def test_a_damaged_header_is_an_error(sound: Sound, at: int, value: bytes) -> None:
    sound.damage(at, value)
    with pytest.raises(LedgerError):
        everything(sound.path)
    sound.damage(0, b"")
    everything(sound.path)


@pytest.mark.parametrize("pages_left", [0.5, 0.9], ids=["half", "nine tenths"])
def test_a_file_that_is_cut_off_is_an_error(sound: Sound, pages_left: float) -> None:
    size = size_of(sound.content)
    kept = int(len(sound.content) // size * pages_left) * size
    sound.damage(0, b"")
    sound.path.write_bytes(sound.content[:kept])
    with pytest.raises(LedgerError):
        everything(sound.path)
    sound.damage(0, b"")
    everything(sound.path)


SCRIBBLES = """
import sys
with open(sys.argv[1], "r+b") as file:  # another process: a close here would drop the locks of this one
    if sys.argv[2] == "restore":
        file.write(sys.stdin.buffer.read())
    else:
        size = int.from_bytes(file.read(18)[16:], "big")
        file.seek(size)
        file.write(bytes([165]) * (int(sys.argv[3]) - size))
"""


def scribbled(path: Path, how: str, content: bytes = b"") -> None:
    subprocess.run(
        [sys.executable, "-c", SCRIBBLES, path, how, str(path.stat().st_size)], input=content, check=True
    )


def test_damage_under_a_running_program_loses_no_call_and_it_goes_on_when_the_file_is_restored(
    ledger_path: Path, provider: FakeProvider, home: Path
) -> None:
    with metered(ledger_path) as meter:
        ask(client_of(meter, provider))
    content = ledger_path.read_bytes()
    with metered(ledger_path) as meter:
        client = client_of(meter, provider)
        scribbled(ledger_path, "damage")
        assert ask(client).choices
        with pytest.raises(LedgerError):
            ask(client_of(meter, provider, name="strict", budget="$5/day"))
    assert len(provider.requests) == 2
    assert len(spills(home)) == 1
    for suffix in ("-wal", "-shm"):
        ledger_path.with_name(ledger_path.name + suffix).unlink(missing_ok=True)
    scribbled(ledger_path, "restore", content)
    with metered(ledger_path) as meter:
        ask(client_of(meter, provider, budget="$5/day"))
        assert [row["cost_nano"] for row in meter.engine.ledger.calls()] == [COST] * 3
        assert meter.engine.ledger.check() == []
    assert spills(home) == []
