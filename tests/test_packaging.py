"""What is shipped works where nothing of this project is but the wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ENVIRON = dict(os.environ)
"""As it was before tests got homes of their own: pip finds its index and its cache by it."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def run(*command: object, cwd: Path, needs_network: bool = False, **environ: str) -> str:
    environment = {name: value for name, value in ENVIRON.items() if name != "PYTHONPATH"} | environ
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode and needs_network and not ENVIRON.get("CI") and is_offline(done.stdout + done.stderr):
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def is_offline(said: str) -> bool:
    signs = (
        "ConnectionError",
        "NewConnectionError",
        "Failed to establish",
        "No matching distribution",
        "timed out",
    )
    return any(sign in said for sign in signs)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist, and the wheel that is built from it and not from the working tree."""
    place = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", place, ROOT, cwd=place, needs_network=True)
    [sdist], [wheel] = place.glob("*.tar.gz"), place.glob("*.whl")
    return sdist, wheel


def test_the_wheel_has_the_package_its_types_and_its_licence_and_nothing_else(built):
    _, wheel = built
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {"farthing", wheel.name.split("-py3")[0] + ".dist-info"}
    assert "farthing/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    shipped = {name for name in names if name.startswith("farthing/") and name.endswith(".py")}
    tree = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src" / "farthing").rglob("*.py")}
    assert shipped == tree


def test_the_sdist_has_what_is_needed_to_test_it(built):
    sdist, _ = built
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "tests/conftest.py",
        "docs/budgets.md",
    }
    assert wanted <= names
    assert not [name for name in names if ".db" in name or "__pycache__" in name]


def test_the_installed_wheel_runs_the_demo_outside_of_the_tree(built, tmp_path):
    _, wheel = built
    place = tmp_path / "venv"
    venv.create(place, with_pip=True)
    folder = place / ("Scripts" if os.name == "nt" else "bin")
    run(folder / "python", "-m", "pip", "install", "-q", wheel, cwd=tmp_path, needs_network=True)

    where = run(folder / "python", "-c", "import farthing; print(farthing.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(place)
    said = run(folder / "farthing", "demo", cwd=tmp_path, HOME=str(tmp_path), OPENAI_API_KEY="")
    assert "5 served, 45 refused" in said
    assert (
        run(folder / "python", "-m", "pip", "check", cwd=tmp_path).strip() == "No broken requirements found."
    )
