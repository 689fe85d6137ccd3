"""What providers bill beside the tokens of an answer: hosted tools, and what another model did for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

__all__ = ["FEES", "ONLY_IF_PRICED", "SINGLE", "Fee"]

Fee = Literal[
    "web_search",
    "web_search_preview",
    "search_content",
    "file_search",
    "code_execution",
    "container",
    "x_search",
    "document_search",
    "search_source",
    "hosted_tool",
    "image_generation",
    "grounding",
    "maps_grounding",
    "search_unit",
    "classification",
    "page",
]
"""Billed by the call, the query, the container, the page."""

FEES: Mapping[str, str] = {
    "web_search_calls": "web_search",
    "web_search_preview_calls": "web_search_preview",
    "search_content_blocks": "search_content",
    "file_search_calls": "file_search",
    "code_interpreter_calls": "code_execution",
    "code_containers": "container",
    "x_search_calls": "x_search",
    "document_search_calls": "document_search",
    "sources_used": "search_source",
    "hosted_tool_calls": "hosted_tool",
    "image_generation_calls": "image_generation",
    "image_gen_input_tokens": "image_gen_input",
    "image_gen_output_tokens": "image_gen_output",
    "svg_input_tokens": "svg_input",
    "svg_output_tokens": "svg_output",
    "grounding_queries": "grounding",
    "maps_grounded_prompts": "maps_grounding",
    "search_units": "search_unit",
    "classifications": "classification",
    "pages": "page",
    "citation_tokens": "citation",
    "trained_tokens": "training",
}
"""Count in the `units` of a call -> unit of its price. What is not here is part of the tokens, or free."""

ONLY_IF_PRICED = frozenset({"citation"})
"""Units that only some models bill: without a price they are no fee."""

SINGLE: frozenset[str] = frozenset({*get_args(Fee), "request", "second", "character", "image"})
"""Units that are no tokens: what is said of tokens (batch rates, multipliers) does not hold for them."""
