"""The questions that can be asked of this room."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from farthing.struck import pass_on
from farthing.tokens.chat import add_messages, add_options, add_prime
from farthing.tokens.families import family_of
from farthing.tokens.items import add_items, add_message
from farthing.tokens.parts import add_content
from farthing.tokens.ranks import loaded_encoding
from farthing.tokens.tally import Tally, as_mapping, as_weight
from farthing.tokens.text import Count, tokenizer

__all__ = ["count_input", "count_messages", "count_text", "count_texts", "loaded", "warm"]

_NOTHING: Final[Mapping[str, Any]] = {}

_OF_ANSWERS: Final = 64
"""Tokens that a Responses request with an earlier answer may be billed above its count at a reasoning model,
however short it is. Why is not known: of 62 Responses recorded in public test fixtures (pydantic/pydantic-ai,
traceloop/openllmetry, Arize-ai/openinference) the bill farthest above its count has 58 more. The bills of
a single message that were looked at equal their counts, and are held for by a share of these alone."""


def warm(encodings: Iterable[str] = ("o200k_base",)) -> None:
    """Load vocabularies now: about half a second and 80 MB for o200k_base, half of that for cl100k_base.

    Raises:
        KeyError: for a name other than these two.
    """
    for name in encodings:
        tokenizer(name)


def loaded(model: str) -> bool:
    """Whether counting for this model would start at once, without loading a vocabulary."""
    return loaded_encoding(family_of(model).encoding)


def count_text(text: str, model: str) -> Count:
    """One text alone, without the overhead of a message."""
    return count_texts(text, model)


def count_messages(
    messages: object,
    model: str,
    *,
    tools: object = None,
    tool_choice: object = None,
    functions: object = None,
    response_format: object = None,
    extra: Mapping[str, Any] | None = None,
    beside: Iterable[object] | None = None,
) -> Count:
    """The input of a chat completion.

    Args:
        messages: a list of messages, or a text.
        tools, tool_choice, functions, response_format: as in the request.
        extra: further fields of the request that add input: `function_call`, `system` (Anthropic).
        beside: values of others, of which nobody knows whether they do: the upper figure has them.
    """
    more = extra or _NOTHING
    declared = tools or functions
    try:
        tally = Tally(model)
        add_prime(tally)
        after_system = False
        if more.get("system"):
            add_message(tally, "system", more["system"])
            after_system = True
        after_system |= add_messages(tally, messages, with_tools=bool(declared))
        if declared or response_format is not None:
            choice = tool_choice if tool_choice is not None else more.get("function_call")
            add_options(
                tally,
                tools=declared,
                tool_choice=choice,
                response_format=response_format,
                after_system=after_system,
                chat=True,
            )
        for value in beside or ():
            tally.beside(value)
        return tally.total()
    except Exception as error:  # noqa: BLE001  a shape nobody foresaw is guessed, never refused
        pass_on(error)
        return as_weight([messages, declared, response_format, dict(more), beside])


def count_input(
    input: object,  # noqa: A002  the name of the field
    model: str,
    *,
    instructions: object = None,
    tools: object = None,
    tool_choice: object = None,
    text: object = None,
    beside: Iterable[object] | None = None,
) -> Count:
    """The input of a Responses request.

    Args:
        input: a text or a list of items.
        instructions, tools, tool_choice, text: as in the request.
        beside: as for a chat.

    What `previous_response_id`, `conversation` and `prompt` stand for is not counted.
    """
    try:
        tally = Tally(model)
        add_prime(tally)
        if instructions:
            add_message(tally, "system", instructions)
        reasons = tally.family.prime == 2
        if reasons:
            tally.guess(0, 0)  # of recorded bills of reasoning models here, one in five is some tokens off
        add_items(tally, input)
        form = as_mapping(text)
        if tools or form is not None:
            add_options(
                tally,
                tools=tools,
                tool_choice=tool_choice,
                response_format=None if form is None else form.get("format"),
                after_system=bool(instructions),
                chat=False,
            )
        for value in beside or ():
            tally.beside(value)
        return tally.total(least=_OF_ANSWERS if reasons and tally.answered else 0)
    except Exception as error:  # noqa: BLE001  as above
        pass_on(error)
        return as_weight([input, instructions, tools, text, beside])


def count_texts(input: object, model: str) -> Count:  # noqa: A002  the name of the field
    """The input of embeddings or of a completion: a text, a list of texts, tokens, or lists of tokens."""
    try:
        tally = Tally(model)
        _add_texts(tally, input)
        return tally.total(margin=4)
    except Exception as error:  # noqa: BLE001  as above
        pass_on(error)
        return as_weight(input)


def _add_texts(tally: Tally, value: object) -> None:
    if not isinstance(value, (list, tuple)):
        add_content(tally, value)
    elif value and all(type(token) is int for token in value):
        tally.counted += len(value)
    else:
        for one in value:
            _add_texts(tally, one)
