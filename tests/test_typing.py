"""What users' type checkers say about the public names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("checker", "option"), [("mypy", "--python-executable"), ("pyright", "--pythonpath")]
)
def test_the_public_names_have_the_types_that_users_are_promised(checker, option):
    pytest.importorskip(checker)
    done = subprocess.run(
        [sys.executable, "-m", checker, option, sys.executable, "tests/typing/api.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
