"""Every method of the installed SDKs that may cost money is in docs/methods.md, and what that says is so."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import anthropic
import openai
import pytest

from farthing import wire
from farthing.intercept import sockets
from farthing.usage.flavours import row_of
from intercept.kit import SDK
from intercept.sdk_methods import Method, methods_of

PAGE = Path(__file__).parents[2] / "docs" / "methods.md"
CLIENTS = {
    "OpenAI": lambda: openai.OpenAI(api_key="k"),
    "Anthropic": lambda: anthropic.Anthropic(api_key="k"),
}
_CODE = re.compile(r"`([^`]+)`")
_SINCE = re.compile(r"from (\d+)")
_UNTIL = re.compile(r"until (\d+)")


@dataclass(frozen=True, slots=True)
class Row:
    """A line of one of the tables."""

    methods: tuple[str, ...]
    path: str
    read_from: str
    settled: str
    since: int
    until: int

    @property
    def is_here(self) -> bool:
        """Whether the SDK that is installed should have it."""
        return self.since <= SDK[0] <= self.until


def _rows(sdk: str) -> list[Row]:
    """The table under the heading of this SDK."""
    text = PAGE.read_text(encoding="utf-8").split(f"\n## {sdk}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    rows = []
    for line in lines:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        versions = cells[4] if len(cells) > 4 else ""
        since, until = _SINCE.search(versions), _UNTIL.search(versions)
        (path,) = _CODE.findall(cells[1])
        rows.append(
            Row(
                tuple(_CODE.findall(cells[0])),
                path,
                cells[2],
                cells[3],
                int(since[1]) if since else 0,
                int(until[1]) if until else 10**6,
            )
        )
    return rows


def settled(method: Method) -> str:
    """How a call of this method is settled, in the words of the page, by what farthing itself goes by;
    "free" for one that costs nothing."""
    if not method.path:
        seen = method.module in sockets.MODULES
        return "when its events say so; refused under a hard budget" if seen else "unseen"
    url = method.path.replace("*", "x_1")
    route = wire.route_of(url)
    if route is None:
        fate = wire.fate_of("post", url)
        if fate == "billed":
            return "unmetered; refused under a hard budget"
        return "with the work that it asks about" if wire.job_asked("post", url) else fate
    later = "when a later answer says so"
    stream = {"always": "at the end of its stream", "maybe": "or at the end of its stream", "": ""}
    if wire.job_made(route, {}) is not None:
        parts = [later, "or at the end of its stream" if method.streams else ""]
    elif method.streams == "always":
        parts = [stream["always"]]
    else:
        parts = ["at once", stream[method.streams]]
        if wire.job_made(route, {"background": True}) is not None:
            parts.append(f"or {later}")
    return ", ".join(part for part in parts if part)


def problems(methods: list[Method], rows: list[Row]) -> list[str]:
    """What the page lacks, and what it says that is not so."""
    found = []
    told = {(name, row.path): row for row in rows if row.is_here for name in row.methods}
    for method in methods:
        how = settled(method)
        path = method.path or next((p for name, p in told if name == method.name), "")
        row = told.pop((method.name, path), None)
        if row is None and how != "free":
            found.append(f"{method.name} posts to {method.path}, which is {how}, and is not in the table")
        elif row is not None and row.settled != how:
            found.append(f"{method.name} is settled {how}; the table says {row.settled}")
    found.extend(f"no method {name} posts to {path}" for name, path in told)
    here = {(method.name, method.path) for method in methods}
    for row in rows:
        found.extend(
            f"{name} is in this version, the table says that it is not"
            for name in row.methods
            if not row.is_here and not here.isdisjoint({(name, row.path), (name, "")})
        )
    return found


@pytest.mark.parametrize("sdk", CLIENTS)
def test_every_method_that_may_cost_money_is_in_the_table_as_it_is_settled(sdk):
    methods = methods_of(CLIENTS[sdk]())
    assert len(methods) > 50
    assert problems(methods, _rows(sdk)) == []


@pytest.mark.parametrize("sdk", CLIENTS)
def test_asynchronous_clients_have_the_same_methods(sdk):
    made = {"OpenAI": openai.AsyncOpenAI, "Anthropic": anthropic.AsyncAnthropic}[sdk](api_key="k")
    both = [{(m.name, m.path) for m in methods_of(client)} for client in (CLIENTS[sdk](), made)]
    assert both[0] == both[1]


@pytest.mark.parametrize("sdk", CLIENTS)
def test_what_the_table_reads_usage_from_is_where_it_is_read(sdk):
    for row in _rows(sdk):
        route = wire.route_of(row.path.replace("*", "x_1"))
        if route is None:
            continue
        flavour = row_of(route.flavour)
        places = {route.measure, *((*flavour.usage_at, *flavour.bare) if flavour else ("usage",))}
        assert any(place in row.read_from for place in places), row


# -- what would be found -----------------------------------------------------------------------------------


class Minting:
    """A resource of a later SDK, which posts to paths that nobody has heard of."""

    def _post(self, path, **_): ...

    def _get_api_list(self, path, **_): ...

    def strike(self, coin):
        return self._post(f"/mint/{coin}/strike", body={})

    def pour(self):
        return self._get_api_list("/mint/pour", page=list, method="post")

    def look(self):
        return self._get_api_list("/mint", page=list)

    def stream(self, path):
        return self._post(path)

    def connect(self): ...


def _with_a_mint():
    class Later(openai.OpenAI):
        @property
        def mint(self):
            return Minting()

    return [method for method in methods_of(Later(api_key="k")) if method.name.startswith("mint.")]


def test_a_method_that_nobody_has_heard_of_is_found():
    assert {(method.name, method.path) for method in _with_a_mint()} == {
        ("mint.strike", "/mint/*/strike"),
        ("mint.pour", "/mint/pour"),
        ("mint.stream", "?"),
        ("mint.connect", ""),
    }
    assert sorted(problems(_with_a_mint(), [])) == [
        "mint.connect posts to , which is unseen, and is not in the table",
        "mint.pour posts to /mint/pour, which is unknown, and is not in the table",
        "mint.stream posts to ?, which is unknown, and is not in the table",
        "mint.strike posts to /mint/*/strike, which is unknown, and is not in the table",
    ]


def test_a_row_that_is_not_so_is_found():
    embed = Method("embeddings.create", "/embeddings", streams="", module="openai")
    told = Row(("embeddings.create",), "/embeddings", "`usage`", "at once", 0, 10**6)
    assert problems([embed], [told]) == []
    later = Row(("embeddings.create",), "/embeddings", "`usage`", "when a later answer says so", 0, 10**6)
    assert problems([embed], [later]) == [
        "embeddings.create is settled at once; the table says when a later answer says so"
    ]
    moved = Row(("embeddings.create",), "/embed", "`usage`", "at once", 0, 10**6)
    assert len(problems([embed], [moved])) == 2
    gone = Row(("embeddings.mint",), "/embeddings", "`usage`", "at once", 0, 10**6)
    assert problems([embed], [told, gone]) == ["no method embeddings.mint posts to /embeddings"]
    early = Row(("embeddings.create",), "/embeddings", "`usage`", "at once", 0, 0)
    assert len(problems([embed], [early])) == 2


def test_a_route_that_is_taken_out_is_found(monkeypatch):
    route_of = wire.route_of
    monkeypatch.setattr(wire, "route_of", lambda url: None if url == "/embeddings" else route_of(url))
    found = problems(methods_of(CLIENTS["OpenAI"]()), _rows("OpenAI"))
    assert found == ["embeddings.create is settled unknown; the table says at once"]
