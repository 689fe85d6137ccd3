"""Where settings come from: `configure()`, the environment, a file, defaults, in this order."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farthing.errors import FarthingError, shown
from farthing.meter.prices import Layered

__all__ = ["Setting", "default_ledger", "resolved", "settings"]

_ENVIRONMENT = {
    "FARTHING_LEDGER": "ledger",
    "FARTHING_ACCOUNT": "account",
    "FARTHING_BUDGET": "budget",
    "FARTHING_DISABLED": "enabled",
}
_KNOWN = frozenset(
    {
        "ledger",
        "account",
        "context",
        "tags",
        "budget",
        "budgets",
        "price_file",
        "prices",
        "on_unpriced",
        "on_unbounded",
        "on_ledger_error",
        "on_tight",
        "min_output_tokens",
        "output_cap",
        "wait",
        "durability",
        "ledger_timeout",
        "inject_usage",
        "alert_url",
        "enabled",
    }
)


_PATHS = frozenset({"ledger", "price_file"})


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and who said it."""

    value: Any
    source: str


def settings(given: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> dict[str, Setting]:
    """Every setting that somebody has stated, by name.

    Raises:
        FarthingError: for a file that cannot be read, or a name in it that is no setting.
    """
    environ = os.environ if environ is None else environ
    found: dict[str, Setting] = {}
    path, table = _file(environ)
    for name, value in table.items():
        if name not in _KNOWN:
            raise FarthingError(f"{path}: {name!r} is no setting; known are {', '.join(sorted(_KNOWN))}")
        found[name] = Setting(_beside(path, name, value) if name in _PATHS else value, str(path))
    for variable, name in _ENVIRONMENT.items():
        text = environ.get(variable, "").strip()
        if text:
            value = text.lower() not in {"1", "true", "yes", "on"} if name == "enabled" else text
            found[name] = Setting(value, variable)
    found |= {name: Setting(value, "configure()") for name, value in given.items() if name != "prices"}
    return _with_prices(found, given)


def _beside(file: Path | None, name: str, value: Any) -> str:
    """A path that a file states is one from its folder, wherever below that a program starts: with a ledger
    for each folder, each would have the whole budget to spend."""
    if not isinstance(value, str):
        raise FarthingError(f"{file}: {name!r} is a path, in quotes; got {shown(value)}")
    if file is None or value == ":memory:" or "://" in value or value.startswith("~"):
        return value
    return str(file.absolute().parent / value)


def _with_prices(found: dict[str, Setting], given: Mapping[str, Any]) -> dict[str, Setting]:
    """All prices as one setting: those given outrank those of the file, and both a price file."""
    stated = found.get("prices")
    file = found.pop("price_file", None)
    layers = [given.get("prices"), None if stated is None else stated.value]
    who = [setting.source for setting in (stated, file) if setting is not None]
    if given.get("prices") is not None:
        who.insert(0, "configure()")
    if who:
        path = None if file is None else file.value
        found["prices"] = Setting(Layered(tuple(layers), path), ", ".join(dict.fromkeys(who)))
    return found


def _file(environ: Mapping[str, str]) -> tuple[Path | None, dict[str, Any]]:
    """The nearest farthing.toml or pyproject.toml with [tool.farthing], or what FARTHING_CONFIG names."""
    named = environ.get("FARTHING_CONFIG", "").strip()
    if named:
        path = Path(named).expanduser()
        if not path.is_file():
            raise FarthingError(f"FARTHING_CONFIG names {path}, which is no file")
        return path, _table(path)
    here = Path.cwd()
    for folder in (here, *here.parents):
        for name in ("farthing.toml", "pyproject.toml"):
            path = folder / name
            if path.is_file():
                table = _table(path)
                if name == "farthing.toml" or table:
                    return path, table
    return None, {}


def _table(path: Path) -> dict[str, Any]:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        if path.name == "pyproject.toml":  # somebody else's file: not ours to complain about
            return {}
        raise FarthingError(f"{path} cannot be read: {error}") from None
    if path.name == "pyproject.toml":
        data = data.get("tool", {}).get("farthing", {})
    return data if isinstance(data, dict) else {}


def resolved(where: str | Path) -> str | None:
    """The path of a ledger as its file is known by; None for one that is no file."""
    text = str(where)
    if text == ":memory:" or "://" in text:
        return None
    try:
        return str(Path(text).expanduser().resolve())
    except (OSError, ValueError, RuntimeError):  # a NUL, a loop of links, a home of nobody
        return None


def default_ledger() -> Path:
    """`ledger.db` in the user's data folder."""
    from platformdirs import user_data_path  # noqa: PLC0415  only where nobody names a ledger

    return user_data_path("farthing", appauthor=False) / "ledger.db"
