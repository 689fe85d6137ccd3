"""What an answer shows of hosted tools by what it holds, where no count of them is stated.

Each function adds to the counts that were found; the names of fees are those of `farthing.records.fees`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from farthing.usage.paths import fields_of

__all__ = [
    "Further",
    "of_chat",
    "of_gemini",
    "of_interactions",
    "of_messages",
    "of_mistral",
    "of_responses",
]

Further = Callable[[Mapping[str, Any], dict[str, Any]], None]
"""(fields of a body or event, counts that were found, to which it adds)."""

_CALLS: Mapping[str, str] = {
    "web_search_call": "web_search_calls",
    "file_search_call": "file_search_calls",
    "image_generation_call": "image_generation_calls",
}
"""SDK types/responses/response_output_item.py. Calls of functions, MCP, computers and shells of one's own
cost their tokens alone."""

_BY_THE_BLOCK = ("gpt-4o-mini", "gpt-4.1-mini")
"""What a search found is billed to these as a block of 8,000 tokens (OpenAI pricing page, built-in tools, as
quoted at modelcostwatch.com on 2026-03-12); whether their usage counts it is not said."""

_NO_SEARCH = frozenset({"open_page", "find_in_page", "find"})
_MOST = 10_000


def of_responses(fields: Mapping[str, Any], found: dict[str, Any]) -> None:
    """Items of the output of OpenAI's Responses, as far as `tool_usage` does not count them: its searches are
    the billable ones, and opening a page is none (SDK types/responses/response.py, ToolUsage). The tool
    `web_search_preview` has a price of its own."""
    of_chat(fields, found)
    items = fields.get("output")
    calls: dict[str, int] = {}
    containers: set[object] = set()
    for item in items[:_MOST] if isinstance(items, (list, tuple)) else ():
        kind = _get(item, "type")
        if kind == "message" or not isinstance(kind, str):
            continue
        if kind in {"code_interpreter_call", "shell_call"}:
            where = item if kind == "code_interpreter_call" else _get(item, "environment")
            name = _get(where, "container_id")
            if isinstance(name, str) or kind == "code_interpreter_call":  # else a shell of one's own
                containers.add(name if isinstance(name, str) else None)
        elif kind in _CALLS and _get(_get(item, "action"), "type") not in _NO_SEARCH:
            calls[_CALLS[kind]] = calls.get(_CALLS[kind], 0) + 1
    searches = calls.pop("web_search_calls", 0)
    if _get(_get(fields, "tool_usage"), "web_search") is not None:
        searches = found.pop("web_search_calls", 0)
    if searches and not found.get("web_searches"):
        preview = _previews(fields)
        found["web_search_preview_calls" if preview else "web_search_calls"] = searches
        model = fields.get("model")
        if not preview and isinstance(model, str) and model.startswith(_BY_THE_BLOCK):
            found["search_content_blocks"] = searches
    if found.get("image_gen_output_tokens"):
        calls.pop("image_generation_calls", None)  # these tokens are what is billed of them
    if containers and not found.get("code_interpreter_calls"):
        found["code_containers"] = len(containers)
    for name, count in calls.items():
        found.setdefault(name, count)


def _previews(fields: Mapping[str, Any]) -> bool:
    tools = fields.get("tools")
    kinds = [_get(tool, "type") for tool in tools] if isinstance(tools, list) else []
    return any(isinstance(kind, str) and kind.startswith("web_search_preview") for kind in kinds)


def of_chat(fields: Mapping[str, Any], found: dict[str, Any]) -> None:
    """Models that search before they answer do so once for a request at least ("the model always retrieves
    information from the web": OpenAI's guide "Web search", chat completions). xAI's count of all tools
    stands for those that it does not name."""
    model = fields.get("model")
    if isinstance(model, str) and "search" in model:
        if "-search-preview" in model:
            found.setdefault("web_search_preview_calls", 1)
        elif "-search-api" in model:
            found.setdefault("hosted_tool_calls", 1)
    used = found.get("server_side_tools_used")
    if used and not any(name.endswith("_calls") for name in found) and not found.get("web_searches"):
        found["hosted_tool_calls"] = used


def of_messages(fields: Mapping[str, Any], found: dict[str, Any]) -> None:
    """Anthropic's code runs in a container, billed by the hour beyond what is free each month (docs.anthropic
    .com, code execution tool): what one answer costs of it nobody can say."""
    if fields.get("container") is not None or _get(fields.get("delta"), "container") is not None:
        found["code_containers"] = 1


def of_gemini(fields: Mapping[str, Any], found: dict[str, Any]) -> None:
    """Grounding with Google's search and maps. Empty and repeated queries are not billed; how many are free
    depends on the day's others (ai.google.dev/gemini-api/docs/google-search and .../pricing)."""
    queries: set[str] = set()
    maps = False
    candidates = fields.get("candidates")
    for candidate in candidates if isinstance(candidates, (list, tuple)) else ():
        grounding = _get(candidate, "groundingMetadata", "grounding_metadata")
        for names in (
            ("webSearchQueries", "web_search_queries"),
            ("imageSearchQueries", "image_search_queries"),
        ):
            queries.update(
                query for query in _all(_get(grounding, *names)) if isinstance(query, str) and query
            )
        chunks = _all(_get(grounding, "groundingChunks", "grounding_chunks"))
        maps = maps or any(_get(chunk, "maps") is not None for chunk in chunks)
    if queries:
        found["grounding_queries"] = len(queries)
    if maps:
        found["maps_grounded_prompts"] = 1


def of_interactions(fields: Mapping[str, Any], found: dict[str, Any]) -> None:
    """The same, where the usage counts them by tool (docs.cloud.google.com, v1beta1 Usage)."""
    counted = _all(_get(fields.get("usage"), "groundingToolCount", "grounding_tool_count"))
    counts = [_get(tool, "count") for tool in counted]
    queries = sum(count for count in counts if type(count) is int and 0 < count <= _MOST)
    if queries:
        found["grounding_queries"] = queries


def of_mistral(fields: Mapping[str, Any], found: dict[str, Any]) -> None:
    """Connectors of Mistral's conversations: name -> how often (mistralai ConversationUsageInfo)."""
    connectors = _get(fields.get("usage"), "connectors")
    if not isinstance(connectors, Mapping):
        return
    for name, count in connectors.items():
        if type(count) is int and 0 < count <= _MOST:
            known = "web_search_calls" if name == "web_search" else "hosted_tool_calls"
            found[known] = found.get(known, 0) + count


def _get(value: Any, *names: str) -> Any:
    """The first of these fields that a mapping or an object has; None without one."""
    fields = value if type(value) is dict else (None if value is None else fields_of(value))
    if fields is None:
        return None
    return next((inner for name in names if (inner := fields.get(name)) is not None), None)


def _all(value: Any) -> Iterable[Any]:
    return value if isinstance(value, (list, tuple)) else ()
