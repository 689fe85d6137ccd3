"""Tables at terminals of any width."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from farthing.cli.sheet import Column, Sheet, emit

ROWS = [
    ("2026-11-20 12:00:00", "claude-sonnet-4-5", "1,000", "complete, repriced from unknown"),
    ("2026-11-20 12:00:01", "gpt-4o", "9", "aborted"),
]


@pytest.mark.parametrize("width", range(20, 101))
def test_nothing_is_cut_at_any_width_and_what_fits_is_no_wider(width, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    columns = [
        Column("Started", lambda row: row[0], whole=True),
        Column("Model", lambda row: row[1]),
        Column("Input", lambda row: row[2], number=True),
        Column("Outcome", lambda row: row[3]),
    ]
    emit(Sheet(fields=[], columns=columns, rows=ROWS), None)
    head, rule, *lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert head.split() == ["Started", "Model", "Input", "Outcome"]
    assert _letters("".join(lines)) == _letters("".join("".join(row) for row in ROWS))
    least = 19 + 12 + 5 + 12 + 2 * 3
    assert len(rule) <= max(width, least)
    for row in ROWS:
        assert any(row[0] in line and f" {row[2]} " in line for line in lines)


def _letters(text: str) -> Counter[str]:
    return Counter("".join(text.split()))
