"""Tools that the provider's own servers run in the middle of a call, and how often they may.

Each run bills the context once more, and some have a fee. Types of tools: openai package 3.52
`types/responses/tool_param.py`, anthropic package 2.11 `types/tool_union_param.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from farthing.wire.route import Route

__all__ = ["UNLIMITED", "Hosted", "hosted"]

UNLIMITED: Final = -1

_CALLERS: Final = frozenset(
    ("function", "custom", "namespace", "local_shell", "apply_patch", "computer", "computer_use_preview")
)
"""Types of tools whose calls go back to the caller, who runs them and pays for the next request."""

_CALLERS_AT_ANTHROPIC: Final = ("bash_", "computer_", "memory_", "text_editor_")

_DECLARED: Final = ("function", "name", "function_declarations", "functionDeclarations")
"""One of these is in a declaration of functions that has no type."""

_SEARCHES: Final = ("web_search", "google_search", "browser_search", "$web_search")
_ASKS: Final = frozenset(("web_search_options", "search_parameters", "plugins", "enable_search"))
_SEARCHERS: Final = re.compile(r"deep-research|(^|/)compound|:online$", re.IGNORECASE)
"""Names of models that search without being asked: Perplexity's, Groq's, any of OpenRouter's."""

_WITHOUT_FEE: Final = ("mcp", "web_fetch", "tool_search", "programmatic_tool_calling", "shell", "url_context")
"""Types, without their dates, of tools that cost no more than the tokens that they bring in."""


@dataclass(frozen=True, slots=True)
class Hosted:
    """What may run on the server.

    Attributes:
        calls: at most; `UNLIMITED` if nothing in the request limits them.
        units: names of what they are billed by beside tokens.
    """

    calls: int
    units: tuple[str, ...] = ()


def hosted(route: Route, model: str, body: Mapping[str, Any]) -> Hosted | None:
    """The tools that run on the server; None if there are none."""
    if route.flavour == "anthropic.messages":
        return _at_anthropic(body)
    found = _declared(body) if body.get("tools") else None
    if route.flavour != "openai.chat" or (_ASKS.isdisjoint(body) and _searcher(model) is None):
        return found
    searches = _searches(model, body)
    if found is None or searches is None:
        return found or searches
    calls = UNLIMITED if UNLIMITED in (found.calls, searches.calls) else found.calls + searches.calls
    return Hosted(calls, (*found.units, *searches.units))


def _declared(body: Mapping[str, Any]) -> Hosted | None:
    kinds = [kind for kind in map(_kind, _listed(body.get("tools"))) if kind]
    if not kinds:
        return None
    limit = body.get("max_tool_calls")
    return Hosted(limit if type(limit) is int and limit >= 0 else UNLIMITED, _units(kinds))


def _kind(tool: object) -> str | None:
    """The type of a tool that runs on the server."""
    if not isinstance(tool, Mapping):
        return None
    kind = tool.get("type")
    if kind is None:
        return None if any(name in tool for name in _DECLARED) else next(map(str, tool), None)
    if kind in _CALLERS:
        return None
    if kind == "tool_search" and tool.get("execution") == "client":
        return None
    environment = tool.get("environment")
    if kind == "shell" and isinstance(environment, Mapping) and environment.get("type") == "local":
        return None
    inner = tool.get("function")  # Moonshot's builtin_function, whose name is "$web_search"
    named = inner.get("name") if isinstance(inner, Mapping) else None
    return str(named or kind)


def _searches(model: str, body: Mapping[str, Any]) -> Hosted | None:
    """What makes a chat completion search the web, other than tools."""
    searcher = _searcher(model)
    if searcher is not None and not searcher.startswith(":"):
        return Hosted(UNLIMITED, ("web_search",))
    live = body.get("search_parameters")  # xAI: billed by each source that it reads
    if isinstance(live, Mapping) and live.get("mode") != "off":
        return Hosted(UNLIMITED, ("web_search",))
    plugins = _listed(body.get("plugins"))  # OpenRouter
    once = (
        body.get("web_search_options") is not None  # OpenAI: one search before the answer
        or body.get("enable_search") is True  # Qwen
        or searcher is not None
        or any(isinstance(plugin, Mapping) and plugin.get("id") == "web" for plugin in plugins)
    )
    return Hosted(1, ("web_search",)) if once else None


@lru_cache(maxsize=1024)
def _searcher(model: str) -> str | None:
    """What in its name says that a model searches without being asked."""
    found = _SEARCHERS.search(model)
    return found and found[0]


def _at_anthropic(body: Mapping[str, Any]) -> Hosted | None:
    """Each of the tools has a limit of its own, `max_uses`."""
    if body.get("mcp_servers"):
        return Hosted(UNLIMITED)
    calls: int | None = None
    kinds: list[str] = []
    for tool in _listed(body.get("tools")):
        kind = tool.get("type") if isinstance(tool, Mapping) else None
        if not isinstance(kind, str) or kind == "custom" or kind.startswith(_CALLERS_AT_ANTHROPIC):
            continue
        kinds.append(kind)
        limit = tool.get("max_uses")
        limited = type(limit) is int and limit >= 0 and calls != UNLIMITED
        calls = (calls or 0) + limit if limited else UNLIMITED
    return None if calls is None else Hosted(calls, _units(kinds))


def _units(kinds: Iterable[str]) -> tuple[str, ...]:
    found: list[str] = []
    for kind in kinds:
        if kind.startswith(_SEARCHES):
            found.append("web_search")
        elif not kind.startswith(_WITHOUT_FEE):
            found.append(kind.rstrip("0123456789").rstrip("_"))
    return tuple(dict.fromkeys(found))


def _listed(value: object) -> Iterable[Any]:
    return value if isinstance(value, (list, tuple)) else ()
