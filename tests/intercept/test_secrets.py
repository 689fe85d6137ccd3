"""No text of a prompt or an answer, and no key, is stored, logged or told in an error."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys

import pytest

from farthing import FarthingError
from farthing.intercept import observing
from farthing.testing import Reply
from intercept.kit import ASK

PROMPT, ANSWER, KEY = "zebra prompt 4711", "zebra answer 4712", "sk-zebra-key-4713"


def _ask(kit, client, **more):
    ask = {**ASK, "messages": [{"role": "user", "content": PROMPT}], **more}
    with contextlib.suppress(Exception):
        got = kit.run(client.chat.completions.create(**ask))
        if ask.get("stream"):
            with kit.inside(got) as stream:
                list(kit.items(stream))


def test_neither_text_nor_key_is_found_anywhere(kit, ledger_path, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG, logger="farthing")
    usage = {
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "total_tokens": 3,
        "note": ANSWER,
        "odd": {"text": ANSWER},
    }
    kit.provider.script(
        Reply(ANSWER),
        Reply(ANSWER, usage=usage),
        Reply(ANSWER, usage=None),
        Reply(ANSWER),
        Reply(ANSWER, die_after=1),
        Reply(f"{ANSWER} {PROMPT}", status=400),
        Reply(body=ANSWER.encode()),
        Reply(ANSWER, error_event=True),
    )
    client = kit.client(budget="$5/day", options={"api_key": KEY})
    for number in range(8):
        _ask(kit, client, stream=number in (3, 4, 7))
    errors = []
    tight = kit.client(budget="$0.00001/hour", name="tight", options={"api_key": KEY})
    with pytest.raises(FarthingError) as caught:
        kit.run(tight.chat.completions.create(**{**ASK, "messages": [{"role": "user", "content": PROMPT}]}))
    errors.append(repr(caught.value))

    def choke(body, **_more):
        raise ValueError(f"{ANSWER} {body!r}")

    monkeypatch.setattr(observing.usage, "read", choke)
    _ask(kit, client)
    kit.meter.engine.ledger.facts()
    assert len(kit.rows()) == 9
    stored = b"".join(path.read_bytes() for path in _copies(ledger_path))
    told = "\n".join([*errors, caplog.text]).encode()
    assert b"gpt-4o" in stored
    assert b"gpt-4o" in told
    for marker in (PROMPT, ANSWER, KEY):
        assert marker.encode() not in stored
        assert marker.encode() not in told


def _copies(ledger_path):
    """Copies of the ledger and its log, made by another process: no code here opens a live ledger itself."""

    code = "import sys, shutil; [shutil.copy(p, p + '.copy') for p in sys.argv[1:]]"
    live = [path for path in ledger_path.parent.iterdir() if path.name.startswith(ledger_path.name)]
    subprocess.run([sys.executable, "-c", code, *map(str, live)], check=True)
    return [path.with_name(path.name + ".copy") for path in live]
