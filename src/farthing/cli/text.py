"""Text as it may be shown: on one line, without what a terminal would obey, money with its exact digits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from farthing import money

__all__ = ["exact_json", "nano", "one_line", "plain", "usd"]


def plain(text: object) -> str:
    """Names come from servers and users: control characters and overrides of direction become "?"."""
    shown = str(text)
    return shown if shown.isprintable() else "".join(c if c.isprintable() else "?" for c in shown)


def one_line(text: str) -> str:
    """The same on a single line."""
    return plain(" ".join(text.split()))


def usd(amount: Decimal | None) -> str:
    """USD for a person; "unknown" for None."""
    return money.show(nano(amount))


def nano(amount: Decimal | None) -> int | None:
    """USD in nano-dollars. Amounts of a ledger have no digit below."""
    return None if amount is None else int(amount * money.NANO)


def exact_json(value: Any, *, ascii_only: bool = False) -> str:
    """JSON, indented, in which a `Decimal` is a number with all its digits, as no float could have them."""
    return "".join(_json(value, "\n", ascii_only=ascii_only))


def _json(value: Any, line: str, *, ascii_only: bool) -> Iterator[str]:
    if isinstance(value, Decimal):
        yield format(value, "f")
    elif isinstance(value, Mapping) and value:
        yield from _inside(
            "{}",
            line,
            ((f"{json.dumps(str(key), ensure_ascii=ascii_only)}: ", inner) for key, inner in value.items()),
            ascii_only=ascii_only,
        )
    elif isinstance(value, (list, tuple)) and value:
        yield from _inside("[]", line, (("", inner) for inner in value), ascii_only=ascii_only)
    else:
        yield json.dumps(value, ensure_ascii=ascii_only)


def _inside(
    brackets: str, line: str, members: Iterator[tuple[str, Any]], *, ascii_only: bool
) -> Iterator[str]:
    deeper = f"{line}  "
    yield brackets[0]
    for number, (name, inner) in enumerate(members):
        yield f"{',' if number else ''}{deeper}{name}"
        yield from _json(inner, deeper, ascii_only=ascii_only)
    yield f"{line}{brackets[1]}"
