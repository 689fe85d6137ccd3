"""What each of these programs has at hand: clients, a place for answers, and no network but this machine."""

from __future__ import annotations

import ipaddress
import json
import os
import sys
from typing import Any

QUESTION = "What is a farthing?"


def clients() -> tuple[Any, Any]:
    """A sync and an async client of the program's own, wrapped; (None, None) where the framework makes them.

    WAY says how the program is metered: `wrap`, `instrument`, or not by itself.
    """
    way = os.environ.get("WAY")
    if way == "instrument":
        import farthing  # noqa: PLC0415  an unmetered program has none of it

        farthing.instrument(budget="$100/day")
    elif way == "wrap":
        import openai  # noqa: PLC0415

        import farthing  # noqa: PLC0415  an unmetered program has none of it

        return (
            farthing.wrap(openai.OpenAI(), budget="$100/day"),
            farthing.wrap(openai.AsyncOpenAI(), budget="$100/day"),
        )
    return None, None


def wrapped(*made: Any) -> None:
    """Meters clients that the framework has made, where this program's way is `wrap`."""
    if os.environ.get("WAY") == "wrap":
        import farthing  # noqa: PLC0415  an unmetered program has none of it

        for client in made:
            farthing.wrap(client, budget="$100/day")


def told(step: str, answer: Any) -> None:
    """What the program was answered at this step: one line of JSON."""
    sys.stdout.write(json.dumps({"step": step, "answer": answer}, default=str) + "\n")
    sys.stdout.flush()


def _stay_here(event: str, args: tuple[Any, ...]) -> None:
    if event == "socket.getaddrinfo":
        host = args[0]
    elif event == "socket.connect" and isinstance(args[1], tuple):
        host = args[1][0]
    else:
        return
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost"):
        return
    try:
        here = ipaddress.ip_address(name).is_loopback
    except ValueError:
        here = False
    if not here:
        sys.stderr.write(f"tried to reach {name}\n")
        raise OSError(f"this program stays on this machine, and tried {name}")


sys.addaudithook(_stay_here)
