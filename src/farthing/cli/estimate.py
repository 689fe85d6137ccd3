"""`farthing estimate`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from farthing.cli.options import output_options, piped, priced
from farthing.cli.sheet import Column, Field, Sheet, emit, money_fields
from farthing.cli.text import usd
from farthing.cli.told import Told

if TYPE_CHECKING:
    from farthing.records import Estimate

__all__ = ["estimate"]

_MOST_TOKENS: Final = 10**9


@click.command(short_help="What a call would cost.")
@click.argument("prompt", required=False)
@click.option(
    "--model", "models", metavar="NAME", multiple=True, required=True, help="More than once to compare."
)
@click.option(
    "--max-output-tokens",
    type=click.IntRange(1, _MOST_TOKENS),
    metavar="N",
    help="The answer is no longer; else as long as the model can make it.",
)
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    metavar="PATH",
    help="The prompt is the text in this file.",
)
@click.option("--provider", metavar="NAME", help="Who sends the bill; else the maker of the model.")
@output_options
def estimate(
    prompt: str | None, *, models: tuple[str, ...], max_output_tokens: int | None, file: str | None,
    provider: str | None, ledger: str | None, form: str | None,
) -> None:  # fmt: skip
    """What a call with PROMPT would cost. Without it the prompt is the text in --file, or what is piped in.

    Nothing is sent or written, and no ledger is needed. "Expected" is for the prompt and an answer of
    --max-output-tokens, without which it is for the prompt alone; "At most" is what a hard budget would hold
    for the call.

    Exit status 1 if nobody knows the price of a model.
    """
    if not all(model.strip() for model in models):
        raise click.UsageError("--model has no name")
    text = _prompt(prompt, file)
    with priced(ledger) as meter:
        found = [
            meter.estimate(model=model, input=text, max_output_tokens=max_output_tokens, provider=provider)
            for model in dict.fromkeys(models)
        ]
        windows = [meter.engine.catalog.context_window(one.model, provider=provider) for one in found]
    sheet = _sheet(found)
    sheet.notes = [*_notes(found, max_output_tokens), *_too_long(found, windows)]
    emit(sheet, form)
    unknown = [repr(one.model) for one in found if one.upper is None]
    if unknown:
        raise Told(
            f"no price of tokens is known of {', '.join(unknown)}: `farthing prices set` states one, "
            f"`farthing prices show` says what is known"
        )


def _prompt(given: str | None, file: str | None) -> str:
    """The text.

    Raises:
        UsageError: if there is none, or more than one.
        Told: if it is no text.
    """
    if given is not None and file is not None:
        raise click.UsageError("give PROMPT or --file, not both")
    if given is None and file is None and (sys.stdin is None or sys.stdin.isatty()):
        raise click.UsageError("what would be asked? Give PROMPT, --file, or pipe it in")
    text = _read(file or "-") if given in {None, "-"} else given
    if not text.strip():
        raise click.UsageError("the prompt is empty")
    return text


def _read(file: str) -> str:
    data = piped().read() if file == "-" else Path(file).read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Told(f"{'what is piped in' if file == '-' else file} is no text in UTF-8") from None


def _sheet(found: Sequence[Estimate]) -> Sheet:
    return Sheet(
        fields=[
            Field("model", lambda one: one.model),
            Field("inputTokens", lambda one: one.input_tokens),
            Field("inputTokensUpper", lambda one: one.input_tokens_upper),
            Field("maxOutputTokens", lambda one: one.max_output_tokens),
            *money_fields("estimatedCost", lambda one: one.expected),
            *money_fields("upperCost", lambda one: one.upper),
            Field("method", lambda one: one.method),
        ],
        columns=[
            Column("Model", lambda one: one.model),
            Column("Input", _input, number=True),
            Column("Output", _output, number=True),
            Column("Expected", _expected, number=True),
            Column("At most", lambda one: usd(one.upper), number=True),
        ],
        rows=found,
        title="Estimate of one call" if len(found) == 1 else "Estimates of one call each",
    )


def _input(one: Estimate) -> str:
    return f"{'' if one.method == 'exact' else '~'}{one.input_tokens:,}"


def _output(one: Estimate) -> str:
    return "-" if one.max_output_tokens is None else f"<= {one.max_output_tokens:,}"


def _expected(one: Estimate) -> str:
    return usd(None) if one.expected is None else f"~{usd(one.expected)}"


def _notes(found: Sequence[Estimate], cap: int | None) -> Iterator[str]:
    known = [one for one in found if one.upper is not None]
    if any(one.max_output_tokens is not None for one in known):
        yield (
            "Expected is for the prompt alone, without --max-output-tokens."
            if cap is None
            else f"Expected is for an answer of {cap:,} tokens."
        )
    if known:
        yield "At most is what a hard budget would hold."


def _too_long(found: Sequence[Estimate], windows: Sequence[int | None]) -> Iterator[str]:
    for one, window in zip(found, windows, strict=True):
        if window is not None and one.input_tokens > window:
            yield f"{one.model} reads {window:,} tokens at most: the prompt may not fit."
