"""From a body to its cost: how long it takes, how often it is right, beside other libraries. See README.md.

python benchmarks/pricing.py [--others PYTHON] [--cases FILE] [--json FILE]

--others is a Python in which litellm, tokencost and genai-prices are installed; --cases a file of recorded
usage with its cost (`provider`, `wire`, `model`, `usage`, `expected.cost_usd`), which is counted beside the
bodies here.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from bodies import BODIES

NOW = "2026-11-20T12:00:00"
USAGE_KEY = {"google.generate_content": "usageMetadata"}
FIRST = """
import json, time
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * {page}
import farthing.catalog, farthing.pricing
before, start = resident(), time.perf_counter_ns()
farthing.catalog.default().rates("gpt-4o", at_ns=time.time_ns())
first = time.perf_counter_ns() - start
for model in {models!r}:
    farthing.catalog.default().rates(model, at_ns=time.time_ns())
print(json.dumps([first / 1e6, (resident() - before) / 1e6]))
"""


def at_of(case: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(case.get("date") or NOW).replace(tzinfo=UTC)


def timed(run: Callable[[], Any], least: int = 3, most: float = 0.3) -> float:
    """Microseconds of one run: the median of repeats."""
    took: list[float] = []
    until = time.perf_counter() + most
    while len(took) < least or time.perf_counter() < until:
        start = time.perf_counter_ns()
        run()
        took.append((time.perf_counter_ns() - start) / 1e3)
    return statistics.median(took)


# -- one calculation of each library: a body -> USD, or None where it does not know --------------------


def farthing_way() -> Callable[[dict[str, Any]], Any]:
    import farthing  # noqa: PLC0415  not in the others' Python

    def run(case: dict[str, Any]) -> Any:
        return farthing.cost_of(
            case["body"],
            provider=None if case.get("url") else case["provider"],
            base_url=case.get("url"),
            at=at_of(case),
        ).usd

    return run


def genai_way() -> Callable[[dict[str, Any]], Any]:
    from genai_prices import calc_price, extract_usage  # noqa: PLC0415  one library at a time

    flavors = {"openai.chat": "chat", "openai.responses": "responses", "openai.embeddings": "embeddings"}

    def extracted(case: dict[str, Any]) -> Any:
        """By the flavour of its own that fits, else by any that reads it."""
        for flavor in (flavors.get(case["wire"], "default"), "default", "chat", "responses", "anthropic"):
            try:
                return extract_usage(case["body"], provider_id=case["provider"], api_flavor=flavor)
            except (LookupError, ValueError):
                continue
        raise LookupError("no flavour reads it")

    def run(case: dict[str, Any]) -> Any:
        found = extracted(case)
        tier = case["body"].get("service_tier")
        return calc_price(
            found.usage,
            case["body"].get("model") or case["body"].get("modelVersion"),
            provider_id=case["provider"],
            genai_request_timestamp=at_of(case),
            price_context={"service_tier": tier} if tier else None,
        ).total_price

    return run


def litellm_way() -> Callable[[dict[str, Any]], Any]:
    import litellm  # noqa: PLC0415  one library at a time
    from litellm.llms.anthropic.chat.transformation import AnthropicConfig  # noqa: PLC0415
    from litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini import (  # noqa: PLC0415
        VertexGeminiConfig,
    )

    providers = {"google": "gemini", "aws": "bedrock", "together": "together_ai", "x-ai": "xai"}

    def usage_of(case: dict[str, Any]) -> Any:
        body = case["body"]
        if case["wire"] == "anthropic.messages":
            return AnthropicConfig().calculate_usage(usage_object=body["usage"], reasoning_content=None)
        if case["wire"] == "google.generate_content":
            return VertexGeminiConfig._calculate_usage(body)
        return litellm.Usage(**body["usage"])

    def run(case: dict[str, Any]) -> Any:
        body = case["body"]
        model = body.get("model") or body.get("modelVersion")
        answer = litellm.ModelResponse(model=model, usage=usage_of(case))
        return litellm.completion_cost(
            completion_response=answer,
            model=model,
            custom_llm_provider=providers.get(case["provider"], case["provider"]),
            call_type="aembedding" if case["wire"] == "openai.embeddings" else "acompletion",
            service_tier=body.get("service_tier"),
        )

    return run


def tokencost_way() -> Callable[[dict[str, Any]], Any]:
    from tokencost.costs import calculate_cost_by_tokens  # noqa: PLC0415  one library at a time

    def run(case: dict[str, Any]) -> Any:
        body = case["body"]
        usage = body.get("usage") or body["usageMetadata"]
        model = body.get("model") or body.get("modelVersion")
        read = usage.get("prompt_tokens", usage.get("input_tokens", usage.get("promptTokenCount")))
        out = usage.get("completion_tokens", usage.get("output_tokens", usage.get("candidatesTokenCount", 0)))
        return calculate_cost_by_tokens(read, model, "input") + calculate_cost_by_tokens(out, model, "output")

    return run


WAYS = {
    "farthing": ("farthing", farthing_way),
    "genai-prices": ("genai-prices", genai_way),
    "litellm": ("litellm", litellm_way),
    "tokencost": ("tokencost", tokencost_way),
}


def right(answer: Any, cost: str | None) -> bool:
    """To the nano-dollar; of what nobody knows, only that it is not known."""
    if cost is None or answer is None:
        return cost is None and answer is None
    return abs(Decimal(str(answer)) - Decimal(cost)) <= Decimal("5e-10")


def tried(name: str, cases: list[dict[str, Any]], *, slow: bool) -> dict[str, Any]:
    """One library on all cases."""
    package, way = WAYS[name]
    try:
        installed = version(package)
        start = time.perf_counter()
        run = way()
        loaded = (time.perf_counter() - start) * 1e3
    except (PackageNotFoundError, ImportError) as error:
        return {"name": name, "version": None, "error": str(error)}
    good, wrong, silent, took = 0, [], 0, []
    for case in cases:
        try:
            answer = run(case)
        except Exception:  # noqa: BLE001  a library that does not know a model raises
            answer = None
        good += right(answer, case["cost"])
        if not right(answer, case["cost"]):
            silent += answer is not None
            wrong.append(
                [case["body"].get("model") or case["body"].get("modelVersion"), str(answer), case["cost"]]
            )
        if slow and answer is not None:
            took.append(timed(lambda case=case: run(case), most=0.02))
    return {
        "name": name,
        "version": installed,
        "loaded_ms": loaded,
        "right": good,
        "of": len(cases),
        "wrong_number": silent,
        "us": statistics.median(took) if took else None,
        "wrong": wrong,
    }


def recorded(path: Path) -> list[dict[str, Any]]:
    """Recorded usage as cases; those without an asserted cost are left out."""
    cases = []
    for case in json.loads(path.read_text(encoding="utf-8")):
        expected = case["expected"]
        cost = expected.get("cost_usd")
        if cost is None and expected["price_status"] != "unpriced":
            continue
        fields = {key: value for key, value in case["response_fields"].items() if key != "item_types"}
        named = "modelVersion" if case["wire"] == "google.generate_content" else "model"
        body = {**fields, named: case["model"], USAGE_KEY.get(case["wire"], "usage"): case["usage"]}
        date = expected["priced_at"] if "priced_at" in expected else case["date"]
        cases.append(
            {
                "provider": case["provider"],
                "wire": case["wire"],
                "body": body,
                "cost": cost,
                "date": date.replace("Z", "") if date else None,
            }
        )
    return cases


# -- what farthing's own parts take -------------------------------------------------------------------


def parts() -> dict[str, float]:
    from farthing import pricing  # noqa: PLC0415  not in the others' Python
    from farthing.catalog import default  # noqa: PLC0415
    from farthing.records import Usage  # noqa: PLC0415

    catalog, at = default(), time.time_ns()
    rates = catalog.rates("gpt-4o-2024-08-06", provider="openai", at_ns=at)
    usage = Usage(input_tokens=1200, cached_tokens=1024, output_tokens=150, reasoning_tokens=0)

    url = "https://api.openai.com/v1"

    def found() -> Any:
        return catalog.rates("gpt-4o-2024-08-06", provider="openai", base_url=url, at_ns=at)

    def read() -> Any:  # as made for the counts of a body, which are looked at before
        return Usage.trusted(input_tokens=1200, cached_tokens=1024, output_tokens=150, reasoning_tokens=0)

    def many(run: Callable[[], Any]) -> float:
        """CPU time of this thread: on a shared machine, the steadier figure."""
        took = []
        for _ in range(100):
            start = time.thread_time_ns()
            for _ in range(1000):
                run()
            took.append((time.thread_time_ns() - start) / 1e6)
        return statistics.median(took)

    return {
        "rates resolved": many(lambda: pricing.total(usage, rates)),
        "lookup and Usage": many(lambda: pricing.total(read(), found())),
        "lookup, Usage and lines": many(lambda: pricing.price(read(), found())),
    }


def first() -> tuple[float, float]:
    """Milliseconds of the first price of a process, and MB after a hundred models: medians of 5."""
    import os  # noqa: PLC0415  only here

    models = [case["body"].get("model") or case["body"].get("modelVersion") for case in BODIES]
    script = FIRST.format(page=os.sysconf("SC_PAGE_SIZE"), models=models)
    runs = [
        json.loads(subprocess.run([sys.executable, "-c", script], check=True, capture_output=True).stdout)
        for _ in range(5)
    ]
    return statistics.median(run[0] for run in runs), statistics.median(run[1] for run in runs)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--others", metavar="PYTHON", help="with litellm, tokencost and genai-prices")
    parser.add_argument("--cases", type=Path, metavar="FILE")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        asked = json.load(sys.stdin)
        print("\n" + json.dumps(tried(given.worker, asked["cases"], slow=asked["slow"])))
        return
    sets = {"bodies": BODIES}
    if given.cases is not None:
        sets["recorded"] = recorded(given.cases)
    found: dict[str, Any] = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": platform.platform(),
                             "python": platform.python_version(), "command": sys.argv}  # fmt: skip
    found["parts_us"] = parts()
    found["first_ms"], found["memory_mb"] = first()
    found["libraries"] = {}
    for name in WAYS:
        python = sys.executable if name == "farthing" else given.others
        if python is None:
            continue
        for label, cases in sets.items():
            asked = json.dumps({"cases": cases, "slow": label == "bodies"})
            command = [python, __file__, "--worker", name]
            done = subprocess.run(command, input=asked, capture_output=True, text=True, check=False)
            lines = done.stdout.strip().splitlines()
            result = (
                json.loads(lines[-1]) if done.returncode == 0 and lines else {"error": done.stderr[-300:]}
            )
            found["libraries"].setdefault(name, {})[label] = result
    print(f"{found['date']}, {found['machine']}, Python {found['python']}: {' '.join(sys.argv)}\n")
    for part, took in found["parts_us"].items():
        print(f"{part:<26}{took:8.2f} us")
    print(f"{'first price of a process':<26}{found['first_ms']:8.0f} ms")
    print(f"{'memory of the catalog':<26}{found['memory_mb']:8.1f} MB\n")
    for name, by_set in found["libraries"].items():
        for label, result in by_set.items():
            if result.get("error"):
                print(f"{name:<14}{label:<10}{result['error']}")
                continue
            took = f"{result['us']:8.1f} us" if result["us"] is not None else " " * 11
            told = f"right {result['right']} of {result['of']}, a wrong number {result['wrong_number']}"
            print(f"{name:<14}{result['version']:<10}{label:<10}{took}  {told}")
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
