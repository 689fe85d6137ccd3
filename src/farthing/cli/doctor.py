"""`farthing doctor`."""

from __future__ import annotations

import inspect
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import click

from farthing.cli.options import asked, is_missing, output_options, stated
from farthing.cli.sheet import Column, Field, Sheet, emit
from farthing.cli.text import nano, usd
from farthing.cli.told import Told
from farthing.errors import FarthingError

if TYPE_CHECKING:
    from farthing.meter.config import Setting
    from farthing.meter.meter import Meter

__all__ = ["doctor"]

_SAFE_SQLITE: Final = (3, 51, 3)
_NO_SETTINGS: Final = frozenset({"budgets", "on_alert", "clock", "ids"})
_SECRET: Final = ("key", "token", "secret", "password")


@dataclass(frozen=True, slots=True)
class _Fact:
    about: str
    name: str
    value: Any
    source: str = ""


@click.command()
@click.option("--check", is_flag=True, help="Also prove that the ledger adds up.")
@output_options
def doctor(*, check: bool, ledger: str | None, form: str | None) -> None:
    """What farthing runs on, as it is set up here, and what is wrong with it.

    Exit status 1 if the settings or the ledger cannot be used, or if --check finds a fault.
    """
    facts = list(_versions())
    warnings, faults = list(_old_sqlite()), list[str]()
    try:
        facts += _settings(ledger)
        faults += _refused(ledger)
        if _missing(ledger):
            warnings.append("There is no ledger yet: the first metered call makes it.")
        else:
            with asked(ledger) as meter:
                facts += _ledger(meter)
                warnings += _spilled(meter)
                faults += meter.engine.ledger.check() if check else ()
    except FarthingError as error:
        if str(error) not in faults:
            faults.append(str(error))
    emit(_sheet(facts, warnings, faults, checked=check), form)
    if faults:
        raise Told(f"{faults[0]}{f' ({len(faults) - 1} more)' if len(faults) > 1 else ''}")


def _versions() -> Iterator[_Fact]:
    for name in ("farthing", "genai-prices", "openai", "tiktoken"):
        try:
            version: str | None = metadata.version(name)
        except metadata.PackageNotFoundError:
            version = None
        yield _Fact("versions", name, version)
    yield _Fact("versions", "Python", platform.python_version())
    yield _Fact("versions", "SQLite", _sqlite_version())
    yield _Fact("versions", "system", platform.platform(terse=True))


def _sqlite_version() -> str:
    import sqlite3  # noqa: PLC0415  help needs none of it

    return sqlite3.sqlite_version


def _old_sqlite() -> Iterator[str]:
    version = _sqlite_version()
    if tuple(map(int, version.split("."))) < _SAFE_SQLITE:
        yield (
            f"SQLite {version} has a rare fault that can damage a ledger which other programs write to, too "
            f"(https://sqlite.org/wal.html#walresetbug); it is mended in {'.'.join(map(str, _SAFE_SQLITE))}, "
            f"which a newer build of Python has, as from `uv python install` or `conda install sqlite`."
        )


def _settings(ledger: str | None) -> Iterator[_Fact]:
    """Every setting, with who said it."""
    from farthing.meter.config import default_ledger  # noqa: PLC0415  help needs none of it
    from farthing.meter.meter import Meter  # noqa: PLC0415

    found = stated(ledger)
    for name, parameter in inspect.signature(Meter).parameters.items():
        if name in _NO_SETTINGS and name not in found:
            continue
        if name in found:
            yield _Fact("settings", name, _masked(name, found[name].value), found[name].source)
        else:
            value = str(default_ledger()) if name == "ledger" else parameter.default
            yield _Fact("settings", name, _masked(name, value), "default")
    for name in sorted(set(found) - set(inspect.signature(Meter).parameters)):
        yield _Fact("settings", name, _masked(name, found[name].value), found[name].source)


def _refused(ledger: str | None) -> Iterator[str]:
    """Settings that a program would not start with; commands that only ask do without some of them."""
    from farthing.meter.declared import budgets_of, standing  # noqa: PLC0415  help needs none of it
    from farthing.meter.meter import Meter  # noqa: PLC0415

    found = stated(ledger)
    try:
        Meter(**{name: one.value for name, one in found.items() if name not in {"budget", "budgets"}}).close()
    except FarthingError as error:
        yield str(error)
    for where, value, source in _budgets(found):
        try:
            budgets_of(value) if where.startswith("budgets") else standing("default", value)
        except FarthingError as error:
            yield f"{source}: {where}: {error}"


def _budgets(found: dict[str, Setting]) -> Iterator[tuple[str, Any, str]]:
    """Each budget that is stated, by the name of its setting, so that what is wrong with it can be found."""
    if "budget" in found:
        yield "budget", found["budget"].value, found["budget"].source
    if "budgets" in found:
        table, source = found["budgets"].value, found["budgets"].source
        if not isinstance(table, dict):
            yield "budgets", table, source
            return
        for name, one in table.items():
            yield f"budgets.{name}", {name: one}, source


def _masked(name: str, value: Any) -> Any:
    """Without what opens doors: passwords, what follows a host in a URL for alerts, keys of any name."""
    if any(word in name.lower() for word in _SECRET) and value is not None:
        return "***" if isinstance(value, str) else value
    if isinstance(value, dict):
        return {key: _masked(str(key), inner) for key, inner in value.items()}
    if not isinstance(value, str) or "://" not in value:
        return value if isinstance(value, (str, int, type(None))) else str(value)
    try:
        url = urlsplit(value)
        host = f"{url.scheme}://{'***@' if '@' in url.netloc else ''}{url.hostname or ''}"
        port = f":{url.port}" if url.port is not None else ""
    except ValueError:
        return "***"
    rest = "/***" if name == "alert_url" else f"{url.path}{'?***' if url.query else ''}"
    return f"{host}{port}{rest}"


def _missing(ledger: str | None) -> bool:
    from farthing.meter.config import default_ledger  # noqa: PLC0415  help needs none of it

    found = stated(ledger)
    return is_missing(found["ledger"].value if "ledger" in found else default_ledger())


def _ledger(meter: Meter) -> Iterator[_Fact]:
    facts = meter.engine.ledger.facts()
    summary = meter.reports.summary()
    files = {name: size for name, size in facts["file_bytes"].items() if size}
    yield _Fact("ledger", "path", facts["path"])
    yield _Fact("ledger", "id", facts["ledger_id"])
    yield _Fact("ledger", "schema", facts["migrations"])
    yield _Fact("ledger", "durability", facts["durability"])
    yield _Fact("ledger", "bytes", files)
    yield _Fact("ledger", "bytes by table", meter.engine.ledger.sizes())
    yield _Fact("ledger", "rows", facts["rows"])
    yield _Fact("ledger", "finished calls", summary.calls)
    yield _Fact("ledger", "calls without a known price", summary.unpriced_calls)
    yield _Fact("ledger", "calls with estimated tokens", summary.estimated_calls)
    yield _Fact("ledger", "calls with a part without a known price", summary.partial_calls)
    held = {True: "held by a program", False: "free", None: None}[meter.engine.ledger.locked()]
    yield _Fact("ledger", "lock", held)
    yield _Fact("ledger", "spilled calls", meter.engine.ledger.spill().calls)
    yield _Fact("ledger", "open holds", facts["open_calls"])
    yield _Fact("ledger", "holds that expired", facts["expired_calls"])
    yield _Fact("ledger", "uncertain money", summary.uncertain_usd)


def _spilled(meter: Meter) -> Iterator[str]:
    """What waits beside the ledger, or cannot be booked."""
    spill = meter.engine.ledger.spill()
    if spill.calls:
        yield (
            f"{spill.calls} calls were made while the ledger could not be used, and are not in it yet: the "
            "next program that makes a call books those of programs that have ended."
        )
    if spill.bad:
        yield f"Lines of a spill could not be booked; they are kept in {', '.join(spill.bad)}."


def _sheet(facts: list[_Fact], warnings: list[str], faults: list[str], *, checked: bool) -> Sheet:
    sections: dict[str, Any] = {}
    for fact in facts:
        known = sections.setdefault(fact.about, {})
        key = _camel(fact.name)
        if fact.source:
            known[fact.name] = {"value": fact.value, "source": fact.source}
        elif fact.name == "uncertain money":
            known |= {"uncertainUsd": fact.value, "uncertainNano": nano(fact.value)}
        else:
            known[key if fact.about == "ledger" else fact.name] = fact.value
    heads: dict[str, str] = {}
    for fact in facts:
        heads.setdefault(fact.about, fact.name)
    # The first fault is told on stderr.
    notes = [*(f"Warning: {warning}" for warning in warnings), *(f"Fault: {fault}" for fault in faults[1:])]
    if checked and not faults and "ledger" in sections:
        notes.append("The ledger adds up.")
    return Sheet(
        fields=[
            Field("about", lambda fact: fact.about),
            Field("name", lambda fact: fact.name),
            Field("value", lambda fact: fact.value),
            Field("source", lambda fact: fact.source or None),
        ],
        columns=[
            Column("", lambda fact: fact.about if heads[fact.about] == fact.name else ""),
            Column("", lambda fact: fact.name),
            Column("", _shown),
            Column("From", lambda fact: fact.source),
        ],
        rows=facts,
        notes=notes,
        document={**sections, "checked": checked, "warnings": warnings, "faults": faults},
    )


def _camel(name: str) -> str:
    first, *rest = name.split()
    return first + "".join(word.capitalize() for word in rest)


def _shown(fact: _Fact) -> str:
    value = fact.value
    if fact.name == "uncertain money":
        return usd(value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {_number(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "-" if value is None else _number(value)


def _number(value: Any) -> str:
    return f"{value:,}" if type(value) is int else str(value)
