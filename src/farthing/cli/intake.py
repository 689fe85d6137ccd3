"""What is to be imported: JSON or JSON Lines of response bodies, read one by one; what is wrong is told.

No fault quotes what it is about: it may hold a prompt.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

from farthing import usage
from farthing.cli.dates import instant, midnight
from farthing.usage import Reading

__all__ = ["Call", "Faulty", "Item", "Source", "Unbilled", "call_of", "items"]

_PIECE: Final = 1 << 20
_LONGEST_ID: Final = 200
_LAST_SECOND: Final = 253_402_300_800
"""Of the year 9999. What is larger is in milliseconds."""

_OPERATIONS: Final = {
    "openai.chat": "chat",
    "openai.responses": "responses",
    "openai.completions": "completion",
    "openai.embeddings": "embedding",
    "openai.images": "image",
    "openai.transcriptions": "transcription",
    "anthropic.messages": "chat",
    "google.generate_content": "chat",
    "google.interactions": "chat",
    "bedrock.converse": "chat",
    "bedrock.invoke": "chat",
    "cohere.chat": "chat",
    "mistral.conversations": "chat",
    "ollama.chat": "chat",
    "llamacpp.completion": "completion",
}
_STATED: Final = ("provider", "account", "context", "operation", "model", "tags", "cost")
"""What an envelope may say of its body beside `date` and `id`; a bare body only the first two."""


class Faulty(ValueError):
    """Why a record cannot be booked."""


class Unbilled(Exception):
    """A request of a batch that failed, was cancelled or expired: nothing is billed for it."""


class Source:
    """The bytes of a file or of a stream, a digest that tells them from others, and the `usual` provider and
    model: of records that name none."""

    def __init__(self, stream: BinaryIO, path: Path | None, usual: Mapping[str, str] | None = None) -> None:
        self.taken = 0
        self.usual = usual or {}
        self._stream = stream
        self._path = path
        self._seen = hashlib.sha256()
        self._digest: str | None = None

    def __iter__(self) -> Iterator[bytes]:
        for line in self._stream:
            self.taken += len(line)
            if self._path is None:
                self._seen.update(line)
            yield line

    @property
    def digest(self) -> str:
        """Of the whole file; of a stream, which can be read only once, of what has come so far."""
        if self._path is None:
            return self._seen.hexdigest()
        if self._digest is None:
            with self._path.open("rb") as file:
                self._digest = hashlib.file_digest(file, "sha256").hexdigest()
        return self._digest


@dataclass(frozen=True, slots=True)
class Item:
    """A record and where it stands, counted from 1: in which line, or in which place of a list."""

    place: int
    record: Mapping[str, Any] | Faulty


@dataclass(slots=True)
class Call:
    """What is to be booked: arguments of `Meter.made`, and the operation where they name none."""

    arguments: dict[str, Any]
    operation: str
    has_id: bool
    has_date: bool


def items(source: Source) -> Iterator[Item]:
    """The records, as they come. Only what is not a line each is read as a whole."""
    lines = iter(source)
    head = _up_to_text(lines)
    if not head:
        return
    first, after = _parsed(head[-1]), _up_to_text(lines)
    if not _is_document(first, _text(head[-1]), _text(after[-1]) if after else b""):
        yield from _each(chain(head, after, lines))
        return
    whole = [*head, *after, *lines]
    document = _parsed(b"".join(whole))
    if isinstance(document, Faulty):
        yield from _each(iter(whole))
    else:
        for place, record in enumerate(document if isinstance(document, list) else [document], 1):
            yield Item(place, _object(record))


def _is_document(parsed: Any, first: bytes, second: bytes) -> bool:
    """Whether all lines make one document, by the first two: it is a list alone on its line, or it opens what
    it does not close. A line that begins with a brace is none of the inside of an object: then the first one
    is only broken."""
    if isinstance(parsed, list):
        return not second
    opens = first[:1] == b"[" or (first[:1] == b"{" and second[:1] != b"{")
    return isinstance(parsed, Faulty) and opens


def _up_to_text(lines: Iterator[bytes]) -> list[bytes]:
    """Blank lines and the first that is not."""
    taken: list[bytes] = []
    for line in lines:
        taken.append(line)
        if _text(line):
            break
    return taken


def _text(line: bytes) -> bytes:
    return line.strip(b"\xef\xbb\xbf \t\r\n")


def _each(lines: Iterator[bytes]) -> Iterator[Item]:
    for place, line in enumerate(lines, 1):
        if _text(line):
            yield Item(place, _object(_parsed(line)))


def _object(record: Any) -> Mapping[str, Any] | Faulty:
    if isinstance(record, (Mapping, Faulty)):
        return record
    return Faulty("is no JSON object")


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text.decode("utf-8-sig"), parse_constant=_no_number)
    except UnicodeDecodeError:
        return Faulty("is not in UTF-8")
    except RecursionError:
        return Faulty("is nested too deeply")
    except ValueError:
        return Faulty("is not JSON")


def _no_number(_: str) -> NoReturn:
    raise ValueError


def call_of(record: Mapping[str, Any], place: int, source: Source) -> Call:
    """What a record says, checked as far as it can be without the ledger.

    Raises:
        Faulty: if it cannot be booked.
        Unbilled: if there is nothing to book.
    """
    line = usage.batch_line(record)
    if line is not None and line.body is None:
        raise Unbilled
    enveloped = isinstance(record.get("body"), Mapping)
    body = record["body"] if enveloped else {k: v for k, v in record.items() if k not in {"date", "account"}}
    stated = {
        name: record[name] for name in (_STATED if enveloped else _STATED[:2]) if record.get(name) is not None
    }
    for name in ("provider", "account", "context", "operation", "model"):
        if name in stated and (not isinstance(stated[name], str) or not stated[name].strip()):
            raise Faulty(f"{name} must be a text")
    if not enveloped:
        body.pop("provider", None)
    if (
        line is None
        and str(body.get("id", "")).startswith("gen-")
        and (stated.get("provider") is None or not enveloped)
    ):
        stated["provider"] = _seller(stated.get("provider"))
    stated = {**source.usual, **stated}
    reading = usage.read(body, provider=stated.get("provider"))
    if reading.suspect:
        raise Faulty("states counts that cannot be")
    if reading.usage is None and reading.reported_nano is None:
        raise Faulty("states no usage")
    named = stated.pop("model", None)
    model = reading.model or named if named == source.usual.get("model") else named
    if model is None:
        raise Faulty("names no model")
    tags = stated.get("tags", {})
    if not isinstance(tags, Mapping) or not all(isinstance(value, str) for value in tags.values()):
        raise Faulty("tags must map text to text")
    own = record.get("id") if enveloped else None
    at = _when(record.get("date"), body if line is None or line.body is None else line.body)
    arguments = {
        **stated,
        "model": model,
        "usage": body,
        "occurred_at": at,
        "transaction_id": _transaction(own, reading, body, place, source),
    }
    has_id = own is not None or reading.response_id is not None
    operation = _OPERATIONS.get(reading.flavour or "", "other")
    return Call(arguments, operation, has_id=has_id, has_date=at is not None)


def _seller(stated: str | None) -> str:
    """Who sends the bill for a body with an id of OpenRouter's: OpenRouter, unless a user says otherwise
    beside the body's fields. Its own `provider` there is the title of whoever served it, such as
    "Google AI Studio" (https://openrouter.ai/docs/api-reference/overview, "Responses")."""
    return stated if stated is not None and stated.islower() else "openrouter"


def _transaction(own: object, reading: Reading, body: Mapping[str, Any], place: int, source: Source) -> str:
    """The same record gets the same one, so that a file can be imported twice: its own id; else that of the
    response with a digest of its body, since some servers repeat ids; else its place in this very file."""
    if own is not None:
        text = str(own) if isinstance(own, (str, int)) and not isinstance(own, bool) else ""
        if not 0 < len(text) <= _LONGEST_ID:
            raise Faulty(f"id must be a text of 1 to {_LONGEST_ID} characters")
        return f"import:{text}"
    if reading.response_id is not None:
        text = json.dumps(body, sort_keys=True)
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return f"import:{reading.response_id[:_LONGEST_ID]}:{digest[:32]}"
    return f"import:{source.digest[:32]}:{place}"


def _when(stated: object, body: Mapping[str, Any]) -> datetime | None:
    """When the call was made: as the record says, else as the body does; None if nobody says it."""
    if stated is not None:
        return _instant(stated)
    for name in ("created", "created_at"):
        if body.get(name) is not None:
            try:
                return _instant(body[name])
            except Faulty:
                return None
    return None


def _instant(stated: object) -> datetime:
    if isinstance(stated, (int, float)) and not isinstance(stated, bool):
        if not 0 <= stated < _LAST_SECOND:
            raise Faulty("date is no number of seconds since 1970")
        return datetime.fromtimestamp(stated, UTC)
    if not isinstance(stated, str):
        raise Faulty("date must be a text or seconds since 1970")
    try:
        at: date = instant(stated)
    except ValueError as error:
        raise Faulty(f"date {error}") from None
    return midnight(at)
