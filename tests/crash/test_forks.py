"""What a forked child has been told is committed stays, whoever closes the ledger."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from ledger.making import python

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")

PARENT = """
import os, sys
from ledger.making import *
ledger = opened(sys.argv[1])
bound = with_budget(ledger, Budget("all", 1000))
reserved(ledger, [bound])
opened_in_child, closed_in_parent = os.pipe(), os.pipe()
if os.fork() == 0:
    reserved(ledger, [bound])
    os.write(opened_in_child[1], b"x")
    os.read(closed_in_parent[0], 1)
    for _ in range(3):
        ledger.settle(reserved(ledger, [bound]), settlement())
    os._exit(0)
os.read(opened_in_child[0], 1)
ledger.close()
os.write(closed_in_parent[1], b"x")
assert os.wait()[1] == 0
"""


def test_a_parent_that_closes_its_ledger_takes_nothing_from_its_child(ledger_path: Path) -> None:
    """SQLite removes the log when the last connection closes: the child's must count as one."""
    process = python(PARENT, ledger_path)
    assert process.communicate(timeout=60) == ("", "")
    with closing(sqlite3.connect(ledger_path)) as conn:
        assert conn.execute("SELECT count(*) FROM call").fetchone() == (5,)
        assert conn.execute("SELECT count(*) FROM calls").fetchone() == (3,)
