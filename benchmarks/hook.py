"""What the hook alone adds, beside a bare client and the SDK's own time in the same run: see README.md.

python benchmarks/hook.py [--quick] [--json FILE]

The life of a call is stubbed: nothing is counted in tokens, priced, held or booked. What is left is what
stands between the caller and the SDK, and between the SDK and the bytes:

- `hook`: the overridden `request`, the request read, the settings found, the course driven;
- `hook and answer`: that, and the usage read from the answer;
- `in a loop`: both without the SDK in between;
- `chunk`: a streamed chunk that needs nothing, by the slope between streams of two lengths.
"""

from __future__ import annotations

import argparse
import json
import statistics
import timeit
from collections.abc import Generator
from pathlib import Path
from typing import Any

import canned
from overhead import BLOCK, calls, streams, surroundings
from pairing import Paired, paired, quartiles

import farthing
from farthing import wire
from farthing.engine import Call, Plan, Send
from farthing.intercept import clients

FEW, MANY, MORE = 10, 200, 2000


class Sent(Call):
    """A call that was not counted, priced or held, and whose end is booked nowhere."""

    __slots__ = ()

    def __init__(self, engine: Any, plan: Plan) -> None:
        super().__init__(engine, Unheld(), Unpriced(plan.ask), plan.base_url, server_known=True)  # type: ignore[arg-type]

    def finish(self, *_: Any, **__: Any) -> None:
        self._once.acquire(blocking=False)


class Unheld:
    """Stands for a hold and its reservation."""

    provider = "openai"

    @property
    def reservation(self) -> Unheld:
        return self


class Unpriced:
    """Stands for a quote."""

    def __init__(self, ask: Any) -> None:
        self.ask = ask


def sends(engine: Any, plan: Plan) -> Generator[Any, Any, Any]:
    """A life in which the request is sent, and that is all."""
    return (yield Send(Sent(engine, plan), None))


def looks(engine: Any, plan: Plan) -> Generator[Any, Any, Any]:
    """A life in which the request is sent and the answer looked at, or its stream watched."""
    call = Sent(engine, plan)
    asking = wire.with_usage_asked(plan.ask.sent, plan.extra) if plan.ask.stream else None
    result = yield Send(call, asking)
    plan.observe(result, call, asking is not None)
    return result


def shown(name: str, found: Paired, **more: Any) -> dict[str, Any]:
    low, middle, high = found.added
    bare = statistics.median(found.bare)
    print(
        f"{name:52} {bare:9.0f} {middle:9.1f}  ({low:.1f}..{high:.1f})".ljust(88)
        + f"{found.ratio[1]:7.4f} {found.added_cpu:8.1f}",
        flush=True,
    )
    return {
        "name": name,
        "bare_us": bare,
        "added_us": found.added,
        "ratio": found.ratio,
        "added_cpu_us": found.added_cpu,
        **more,
    }


def whole_calls(pairs: int) -> list[dict[str, Any]]:
    """A call that is not streamed."""
    arguments = canned.request(100)
    rows = []
    bare = canned.client()
    nothing = paired(calls(bare, **arguments), calls(canned.client(), **arguments), pairs, calls=BLOCK)
    rows.append(shown("bare against bare (the resolution)", nothing))
    with farthing.Meter(":memory:", enabled=False) as off:
        found = paired(
            calls(bare, **arguments), calls(off.wrap(canned.client()), **arguments), pairs, calls=BLOCK
        )
        rows.append(shown("switched off: Meter(enabled=False)", found))
    with farthing.Meter(":memory:") as meter:
        metered = meter.wrap(canned.client(), tags={"feature": "search"})
        for name, life in (("hook", sends), ("hook and answer", looks)):
            clients.life = life  # type: ignore[attr-defined]
            found = paired(calls(bare, **arguments), calls(metered, **arguments), pairs, calls=BLOCK)
            rows.append(shown(name, found))
    return rows


def in_a_loop(rounds: int) -> list[dict[str, Any]]:
    """The same without the SDK in between, which leaves the caches to the hook."""
    arguments, seen = canned.request(100), []
    rows = []
    with farthing.Meter(":memory:") as meter:
        metered = meter.wrap(canned.client(), tags={"feature": "search"})
        metered_call = clients.metered_call

        def spy(state: Any, options: Any, send: Any) -> Any:
            answer = send(options)
            seen.append((state, options, lambda _: answer))
            return answer

        clients.metered_call = spy
        metered.chat.completions.create(**arguments)
        clients.metered_call = metered_call
        for name, life in (("hook", sends), ("hook and answer", looks)):
            clients.life = life  # type: ignore[attr-defined]
            took = timeit.repeat(lambda: metered_call(*seen[0]), number=200, repeat=rounds)
            low, middle, high = quartiles([each / 200 * 1e6 for each in took])
            print(f"{name + ', in a loop':52} {'':9} {middle:9.1f}  ({low:.1f}..{high:.1f})", flush=True)
            rows.append({"name": f"{name}, in a loop", "added_us": (low, middle, high)})
    return rows


def streamed(pairs: int) -> list[dict[str, Any]]:
    """What a chunk adds, where the caller asked for usage, and where farthing did and looks for it."""
    rows: list[dict[str, Any]] = []
    clients.life = looks  # type: ignore[attr-defined]
    with farthing.Meter(":memory:") as meter:
        bare, metered = canned.client(), meter.wrap(canned.client())
        for asks, who in ((True, "the caller"), (False, "farthing")):
            lengths = {}
            for chunks, count in ((FEW, pairs * 2), (MANY, pairs), (MORE, max(pairs // 5, 8))):
                lengths[chunks] = paired(
                    streams(bare, chunks, asks=asks), streams(metered, chunks, asks=asks), count, calls=1
                )
                rows.append(shown(f"stream of {chunks}, usage asked by {who}", lengths[chunks]))
            for short, long in ((FEW, MANY), (MANY, MORE)):
                more = long - short
                added = (lengths[long].added[1] - lengths[short].added[1]) / more
                cpu = (lengths[long].added_cpu - lengths[short].added_cpu) / more
                own = (statistics.median(lengths[long].bare) - statistics.median(lengths[short].bare)) / more
                name = f"chunk, {short} to {long}, usage asked by {who}"
                print(f"{name:52} {own:9.1f} {added:9.2f}  by CPU {cpu:.2f}")
                rows.append({"name": name, "bare_us": own, "added_us": added, "added_cpu_us": cpu})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a quarter of the pairs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there, too")
    given = parser.parse_args()
    facts = surroundings()
    for name, value in facts.items():
        print(f"{name:9} {value}")
    print(f"\n{'':52} {'bare us':>9} {'added us':>9}  {'(quartiles)':16}{'ratio':>7} {'CPU us':>8}")
    fewer = 4 if given.quick else 1
    rows = [*whole_calls(240 // fewer), *in_a_loop(60 // fewer), *streamed(80 // fewer)]
    if given.json:
        given.json.write_text(json.dumps({**facts, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
