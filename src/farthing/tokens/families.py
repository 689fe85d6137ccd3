"""What is known of a family of models before a call: its tokenizer, what a chat adds to its texts, and
how far the bill may be off the count.

OpenAI's overhead of a chat is the rule of its cookbook ("How to count tokens with tiktoken",
https://github.com/openai/openai-cookbook): 3 tokens for each message and 3 for the answer, which are 2 for
reasoning models in recorded bills. Ratios of other makers' tokenizers to o200k_base are those of bills
recorded in public test fixtures: few and not random, hence the wide upper figures.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal

__all__ = ["Family", "ImageRule", "family_of"]


@dataclass(frozen=True, slots=True)
class ImageRule:
    """Tokens of an image.

    Attributes:
        kind: "tiles" of 512 px (`base` and `each`), "patches" of 32 px (`each` per cent of a token), or
            "flat" (`base` for any image).
        most: tokens of the largest image, whatever its size.
        each_upper: as `each`, at most.
    """

    kind: Literal["tiles", "patches", "flat"]
    base: int
    each: int
    most: int
    each_upper: int


@dataclass(frozen=True, slots=True)
class Family:
    """How the models of a family count.

    Attributes:
        encoding: the vocabulary that counts their texts, or stands in for theirs.
        exact: True if it is theirs, so that the count of a plain text is the bill.
        prime: tokens that a chat adds for the answer.
        percent, percent_upper: billed tokens per 100 counted, expected and at most.
        message_upper: tokens that each message may add beyond the count.
        preamble, preamble_upper: tokens of a hidden text before each chat.
        tools, tools_upper: tokens of a hidden text before the declarations of tools in a chat.
        round_trip: tokens that one called tool adds to its texts.
    """

    name: str
    encoding: str
    exact: bool
    image: ImageRule
    prime: int = 3
    percent: int = 100
    percent_upper: int = 100
    message_upper: int = 0
    preamble: int = 0
    preamble_upper: int = 0
    tools: int = 0
    tools_upper: int = 0
    round_trip: int = 7


def _tiles(base: int, each: int) -> ImageRule:
    # The largest image is scaled to 768 x 1536 or 2048: 8 tiles.
    return ImageRule("tiles", base, each, base + 8 * each, each)


def _patches(each: int, each_upper: int = 0, patches: int = 1536) -> ImageRule:
    each_upper = each_upper or each
    return ImageRule("patches", 0, each, -(-patches * each_upper // 100), each_upper)


def _flat(expected: int, most: int) -> ImageRule:
    return ImageRule("flat", expected, 0, most, 0)


_GPT_4O = Family("gpt-4o", "o200k_base", exact=True, image=_tiles(85, 170))
_GPT_4 = replace(_GPT_4O, name="gpt-4", encoding="cl100k_base")
# 81: a constant found in recorded chats with tools; in recorded Responses it does not appear.
_REASONING = replace(
    _GPT_4O, name="reasoning", prime=2, tools=81, tools_upper=90, round_trip=13, image=_tiles(75, 150)
)
_FOREIGN = Family(
    "other",
    "o200k_base",
    exact=False,
    image=_flat(1500, 16384),
    percent=115,
    percent_upper=150,
    message_upper=15,
    tools=50,
    tools_upper=500,
    round_trip=15,
)
_CLAUDE = replace(
    _FOREIGN, name="claude", percent_upper=130, image=_flat(1600, 5000), tools=350, tools_upper=800
)

# The first pattern that is found in the name decides. Of images, 85 + 170 n, 2833 + 5667 n and 2.46 were seen
# in bills, as was 1.2 for gpt-5-mini, for which OpenAI's pages said 1.62; the others are from those pages
# ("Images and vision").
_TABLE: Final[tuple[tuple[str, Family], ...]] = (
    (
        r"gpt-oss",
        replace(_FOREIGN, name="gpt-oss", percent=100, percent_upper=130, preamble=70, preamble_upper=110),
    ),
    (r"^gpt-?4o-mini", replace(_GPT_4O, image=_tiles(2833, 5667))),
    (r"^(chatgpt-|gpt-?)4o|^gpt-audio|^gpt-realtime", _GPT_4O),
    (r"^gpt-?4\.1-nano", replace(_GPT_4O, image=_patches(246))),
    (r"^gpt-?4\.1-mini", replace(_GPT_4O, image=_patches(162))),
    (r"^gpt-?4\.[15]", _GPT_4O),
    (r"^gpt-?(3\.?5|4(?![0-9.]))|^text-embedding-|^(davinci|babbage)-002$", _GPT_4),
    (r"^o[134]-mini|^codex-mini", replace(_REASONING, image=_patches(172))),
    (r"^o[134](-|$)", _REASONING),
    (r"^gpt-?5-nano", replace(_REASONING, image=_patches(246))),
    (r"^gpt-?5-mini", replace(_REASONING, image=_patches(120, 162))),
    (r"^gpt-?5\.", replace(_REASONING, image=_patches(120, 162, patches=10_000))),
    (r"^gpt-?5", replace(_REASONING, image=_tiles(70, 140))),
    (r"^computer-use", replace(_REASONING, image=_tiles(65, 129))),
    (
        r"^gpt-",
        replace(_REASONING, exact=False, percent_upper=130, message_upper=15, image=_flat(1500, 16384)),
    ),
    (r"claude-(instant|v?[23])|claude-[a-z]+-(3|4(?!-?\.?([7-9]|1[0-9])(?![0-9])))", _CLAUDE),
    (r"claude", replace(_CLAUDE, percent=150, percent_upper=165)),  # their newer tokenizer
    (
        r"gemini|gemma",
        replace(_FOREIGN, name="gemini", percent=104, percent_upper=130, image=_flat(1100, 5000)),
    ),
    (
        r"llama|mistral|mixtral|ministral|magistral|codestral|devstral|pixtral",
        replace(_FOREIGN, percent_upper=140),
    ),
    (
        r"command|^c4ai",
        replace(_FOREIGN, name="cohere", percent=130, percent_upper=160, preamble=280, preamble_upper=400),
    ),
)


@lru_cache(maxsize=1024)
def family_of(model: str) -> Family:
    """The family of a model by its name, in any provider's spelling ("ft:", a path, upper case)."""
    name = model[:200].lower().rpartition("/")[2]
    if name.startswith("ft:"):
        name = name[3:].partition(":")[0]
    for pattern, family in _TABLE:  # compiled at the first look: not at import
        if re.search(pattern, name):
            return family
    return _FOREIGN
