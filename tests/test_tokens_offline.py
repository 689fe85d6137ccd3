"""With the network cut, the first estimate and the first call are as with it, and wait for nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PATIENCE = 100
"""Seconds after which a process that waits for the network is given up; the others take two."""

FIRST = """
import json, socket, sys, threading

cut = sys.argv[1]
if cut == "namespace":
    import fcntl, struct
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plug:  # the loopback interface alone is up
        fcntl.ioctl(plug, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))
elif cut != "nothing":
    def guarded(inner, host_of):
        def call(*args, **kwargs):
            if host_of(args) not in ("127.0.0.1", "localhost", None):
                if cut == "dropped":
                    threading.Event().wait()  # for ever, as a packet that nobody answers
                raise socket.gaierror(-3, "Temporary failure in name resolution")
            return inner(*args, **kwargs)
        return call

    socket.getaddrinfo = guarded(socket.getaddrinfo, lambda args: args[0])
    for name in ("connect", "connect_ex"):
        setattr(socket.socket, name, guarded(getattr(socket.socket, name), lambda args: args[1][0]))

import asyncio
from openai import AsyncOpenAI, OpenAI
from farthing import Budget, Meter
from farthing.testing import FakeProvider

HELLO = [{"role": "user", "content": "Hello, how are you today?"}]
found = []
with Meter(sys.argv[2], durability="fast", budgets=[Budget("b", 1, "day")]) as meter:
    for model in ("gpt-4o", "gpt-4", "claude-sonnet-4-5"):
        said = meter.estimate(model=model, messages=HELLO, max_output_tokens=10)
        found.append([model, said.method, said.input_tokens, said.input_tokens_upper, str(said.upper)])
    async def first_of_a_task(url):
        async with AsyncOpenAI(base_url=url, api_key="k") as client:
            meter.wrap(client)
            answer = await client.chat.completions.create(model="gpt-4", messages=HELLO, max_tokens=300)
            return meter.receipt(answer)

    with FakeProvider() as provider, OpenAI(base_url=provider.base_url, api_key="k") as client:
        meter.wrap(client)
        answer = client.chat.completions.create(model="gpt-4o", messages=HELLO, max_tokens=300)
        receipt = meter.receipt(answer)
        found.append([str(receipt.cost), str(receipt.held), receipt.outcome])
        receipt = asyncio.run(first_of_a_task(provider.base_url))
        found.append([str(receipt.cost), str(receipt.held), receipt.outcome])
print(json.dumps(found))
"""


def first(cut: str, folder: Path, *before: str) -> list:
    """What a fresh process with nothing in any cache finds."""
    cache = folder / f"cache-{cut}"
    cache.mkdir()
    done = subprocess.run(
        [*before, sys.executable, "-W", "error", "-c", FIRST, cut, str(folder / f"{cut}.db")],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        env={
            **os.environ,
            "TIKTOKEN_CACHE_DIR": str(cache),
            "HOME": str(cache),
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert list(cache.iterdir()) == []
    return json.loads(done.stdout)


@pytest.mark.parametrize("cut", ["refused", "dropped"])
def test_the_first_estimate_and_the_first_call_do_not_wait_for_the_network(cut, tmp_path):
    found = first(cut, tmp_path)
    assert [each[1] for each in found[:3]] == ["exact", "exact", "approximate"]
    assert [each[2] for each in found[3:]] == ["complete", "complete"]
    assert found == first("nothing", tmp_path)


DROPPING = """
ip link add v0 type veth peer name v1 && ip address add 192.0.2.1/24 dev v0 &&
ip link set v0 up && ip link set v1 up && ip route add default dev v0 && exec "$@"
"""
"""A network whose packets, those of DNS too, go out and reach nobody."""


@pytest.mark.parametrize("network", ["none", "one that drops every packet"])
def test_nor_where_the_system_has_no_network_that_works(network, tmp_path):
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("this system has no unshare")
    alone = [unshare, "--net", *(["--map-root-user"] if os.geteuid() else [])]
    if network != "none":
        alone += ["sh", "-c", DROPPING, "sh"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not make a network namespace, or not such a one")
    assert first("namespace", tmp_path, *alone) == first("nothing", tmp_path)


def test_who_asks_for_the_network_is_cut_off(tmp_path):
    """The control of the tests above."""
    asking = FIRST.replace(
        "import asyncio", "import urllib.request; urllib.request.urlopen('http://example.com/')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", asking, "refused", str(tmp_path / "l.db")],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "Temporary failure in name resolution" in said
