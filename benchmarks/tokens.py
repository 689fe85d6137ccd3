"""What it takes to count a request before it is sent, and to load what counts: see README.md for the rules.

python benchmarks/tokens.py [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from overhead import surroundings
from pairing import Block, Paired, paired

from farthing.quote import Margins
from farthing.tokens import count_messages, count_text, warm
from farthing.tokens.text import tokenizer

MODEL = "gpt-4o"
BLOCK = 20

LOAD = """
import json, sys, time
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * {page}
from farthing.tokens import count_text
memory, start = resident(), time.perf_counter_ns()
count_text("hello", {model!r})
print(json.dumps([(time.perf_counter_ns() - start) / 1e6, (resident() - memory) / 1e6]))
"""

WORDS = (
    "the of and to in a is that for it as was with be by on not he his but at are this have from or had an "
    "which their time has would about if will way could people than first water been call who its now find "
    "long down day did get come made may part however system between another government increase example"
)


def prose(size: int) -> str:
    chosen = random.Random(7)  # the same text in every run
    known, parts = WORDS.split(), list[str]()
    while sum(map(len, parts)) < size:
        words = chosen.choices(known, k=chosen.randint(6, 18))
        parts.append(" ".join(words).capitalize() + ". ")
    return "".join(parts)[:size]


def code(size: int) -> str:
    lines = "def total(values: list[int]) -> int:\n    return sum(value for value in values if value > 0)\n\n"
    return (lines * (size // len(lines) + 1))[:size]


def table(size: int) -> str:
    rows = [{"id": n, "name": f"item-{n}", "price": n * 37 % 1000 / 100} for n in range(size // 40 + 1)]
    return json.dumps(rows)[:size]


TEXTS: dict[str, Callable[[int], str]] = {
    "prose": prose,
    "code": code,
    "JSON": table,
    "Chinese": lambda size: ("汉字是世界上最古老的文字之一的" * (size // 45 + 1))[: size // 3],
}
HOSTILE = {
    "spaces": " " * 1_000_000,
    "a": "a" * 1_000_000,
    "newlines": "\n" * 1_000_000,
    "CJK": "汉字" * 500_000,
    "emoji": "😀" * 1_000_000,
    "special tokens": "<|endoftext|>" * 77_000,
    "lone surrogates": "\ud800" * 1_000_000,
    "NUL": "\0" * 1_000_000,
}


def block(count: Callable[[], Any], calls: int) -> Block:
    """The median of some calls in microseconds."""

    def some() -> float:
        took = []
        for _ in range(calls):
            start = time.perf_counter_ns()
            count()
            took.append(time.perf_counter_ns() - start)
        return statistics.median(took) / 1e3

    return some


def chats(pairs: int) -> dict[str, dict[str, float]]:
    """A chat of one text, beside tiktoken's own encoding of the same text."""
    encode = tokenizer("o200k_base")._encode
    assert encode is not None
    found: dict[str, dict[str, float]] = {}
    for size in (1_024, 10_240, 102_400):
        for name, make in TEXTS.items():
            text = make(size)
            messages = [{"role": "user", "content": text}]
            assert count_messages(messages, MODEL).tokens == len(encode(text)) + 7
            calls = max(BLOCK * 1_024 // size, 1)
            timed: Paired = paired(
                block(lambda text=text: len(encode(text)), calls),  # type: ignore[misc]
                block(lambda messages=messages: count_messages(messages, MODEL), calls),  # type: ignore[misc]
                pairs,
                calls=calls,
            )
            low, middle, high = timed.added
            found[f"{name}, {size // 1024} KB"] = {
                "tiktoken": statistics.median(timed.bare),
                "count": statistics.median(timed.other),
                "added": middle,
                "added_low": low,
                "added_high": high,
            }
    return found


def loads(runs: int) -> dict[str, list[float]]:
    """Milliseconds and megabytes of a first count, in fresh processes: medians."""
    found: dict[str, list[float]] = {}
    for name, model in (("o200k_base", "gpt-4o"), ("cl100k_base", "gpt-4")):
        script = LOAD.format(page=os.sysconf("SC_PAGE_SIZE"), model=model)
        each = [
            json.loads(subprocess.run([sys.executable, "-c", script], check=True, capture_output=True).stdout)
            for _ in range(runs)
        ]
        found[name] = [statistics.median(run[part] for run in each) for part in (0, 1)]
    return found


def hostile() -> dict[str, float]:
    """Milliseconds for each text of a million characters: the dearer of both vocabularies."""
    return {
        name: max(
            block(lambda text=text, model=model: count_text(text, model), 1)() for model in (MODEL, "gpt-4")
        )  # type: ignore[misc]
        / 1e3
        for name, text in HOSTILE.items()
    }


def learned(pairs: int) -> float:
    """Microseconds that margins add to a quote, of a model with bills of ten sizes."""
    margins, calls = Margins(), 1_000
    margins._bills = {MODEL: tuple((2**n, 2**n + 40) for n in range(20, 10, -1))}
    timed = paired(
        block(lambda: [None for _ in range(calls)], 1),
        block(lambda: [margins.upper(MODEL, 500) for _ in range(calls)], 1),
        pairs,
        calls=calls,
    )
    return timed.added[1] / calls


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    pairs, runs = (30, 3) if given.quick else (200, 9)
    found: dict[str, Any] = {"surroundings": surroundings()}
    for name, value in found["surroundings"].items():
        print(f"{name}: {value}")
    warm(("o200k_base", "cl100k_base"))
    found["chats"] = chats(pairs)
    print(f"\n{'one message, microseconds':28} {'tiktoken':>9} {'count':>9} {'added (quartiles)':>24}")
    for name, row in found["chats"].items():
        spread = f"{row['added']:8.1f} ({row['added_low']:.1f}..{row['added_high']:.1f})"
        print(f"{name:28} {row['tiktoken']:9.1f} {row['count']:9.1f} {spread:>24}")
    found["margins"] = learned(pairs)
    print(f"\nlearned margins add {found['margins']:.2f} microseconds to a quote")
    found["hostile"] = hostile()
    print("\na million characters, milliseconds")
    for name, took in found["hostile"].items():
        print(f"{name:28} {took:9.1f}")
    found["loads"] = loads(runs)
    print("\nfirst count of a process, loading what counts")
    for name, (took, size) in found["loads"].items():
        print(f"{name:28} {took:7.0f} ms {size:7.1f} MB")
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
