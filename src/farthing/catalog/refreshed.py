"""A newer list of genai-prices than the installed one, which `farthing prices update` has put aside.

It is one file in the user's data folder. It holds as long as the installed package is the one that it was
newer than: what was installed since is newer still.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farthing.log import say_once

if TYPE_CHECKING:
    from genai_prices.types import Provider

__all__ = ["URL", "forget", "installed", "name_standing", "parsed", "place", "put", "standing"]

URL = "https://raw.githubusercontent.com/pydantic/genai-prices/refs/heads/main/prices/new_data/v2/data.json"
"""Where genai-prices publishes its data (`genai_prices.update_prices.DEFAULT_UPDATE_URL`)."""

_MOST_BYTES = 64 * 2**20


def installed() -> str:
    """The version of the installed genai-prices; "" if there is none."""
    try:
        return version("genai-prices")
    except PackageNotFoundError:
        return ""


def place() -> Path:
    """The file in the user's data folder."""
    from platformdirs import user_data_path  # noqa: PLC0415  only where prices are needed

    return user_data_path("farthing", appauthor=False) / "genai-prices.json"


def parsed(content: bytes) -> list[Provider]:
    """The providers of a data file of genai-prices.

    Raises:
        ValueError: if it is none, or of a format that the installed genai-prices does not read.
    """
    from genai_prices import types  # noqa: PLC0415 - heavy: at first use

    if len(content) > _MOST_BYTES:
        raise ValueError("it is too large for a price list")
    try:
        raw: Any = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    if not isinstance(raw, list) or not raw:
        raise ValueError("it is not a list of providers, as genai-prices' data.json is")
    read = types._providers_from_raw  # noqa: SLF001 - as its own updater does; there is no other way in
    try:
        return read(raw)
    except Exception as error:  # noqa: BLE001 - pydantic's, and whatever a foreign format leads to
        raise ValueError(f"genai-prices {installed()} does not read it ({type(error).__name__})") from None


def _name(content: bytes, at: str) -> str:
    """How rows name it: what it was newer than, its date and its digest."""
    return f"genai-prices {installed()}+{at[:10]}.{hashlib.sha256(content).hexdigest()[:8]}"


def put(content: bytes, *, at: datetime) -> str:
    """Put a list aside, to be used from the next process on; returns the name that rows will give it.

    Raises:
        ValueError: as `parsed`.
        OSError: if the folder cannot be written.
    """
    parsed(content)
    name = _name(content, at.isoformat())
    head = json.dumps({"newer_than": installed(), "name": name}).encode()
    path = place()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        part.write_bytes(head + b"\n" + content)
        part.replace(path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    return name


def forget() -> bool:
    """Go back to the installed list; False if that is what holds."""
    try:
        place().unlink()
    except OSError:
        return False
    return True


def standing() -> tuple[str, bytes] | None:
    """The name and content of the list that was put aside, if it is newer than the installed one.

    Never raises: a file that cannot be used is said once and left alone.
    """
    try:
        path = place()
        if not path.exists():
            return None
        line, _, content = path.read_bytes().partition(b"\n")
        head = json.loads(line)
        return (str(head["name"]), content) if head["newer_than"] == installed() else None
    except Exception as error:  # noqa: BLE001 - the installed list is there
        say_once(("refreshed",), logging.WARNING, "the updated price list cannot be used: %s", error)
        return None


def name_standing() -> str | None:
    """The name alone, without reading the list."""
    try:
        with place().open("rb") as file:
            head = json.loads(file.readline(4096))
        return str(head["name"]) if head["newer_than"] == installed() else None
    except Exception:  # noqa: BLE001 - as `standing`, which says it
        return None
