"""`farthing estimate`."""

from __future__ import annotations

import signal
import subprocess
import sys
from decimal import Decimal

import pytest

from cli.running import at_terminal, environment, farthing, told, within
from farthing import Meter
from faults.world import small_disk
from program import Program

ASK = "Why is the sky blue?"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "prompt.txt"
    path.write_bytes("\N{ZERO WIDTH NO-BREAK SPACE}Why is the sky blue?".encode())
    return path


def test_it_is_what_the_meter_says(tmp_path):
    [row] = within("estimate", ASK, "--model", "gpt-4o", "--max-output-tokens", 300).json
    with Meter(tmp_path / "l.db") as meter:
        found = meter.estimate(model="gpt-4o", input=ASK, max_output_tokens=300)
    assert row == {
        "model": "gpt-4o",
        "inputTokens": found.input_tokens,
        "inputTokensUpper": found.input_tokens_upper,
        "maxOutputTokens": 300,
        "estimatedCostUsd": found.expected,
        "estimatedCostNano": int(found.expected * 10**9),
        "upperCostUsd": found.upper,
        "upperCostNano": int(found.upper * 10**9),
        "method": "exact",
    }


def test_the_prompt_is_an_argument_a_file_or_what_is_piped_in(file):
    of = ("estimate", "--model", "gpt-4o")
    rows = [
        within(*of, ASK).json,
        within(*of, "--file", file).json,
        farthing(*of, stdin=file.read_bytes()).json,
        within(*of, "-", stdin=ASK).json,
        within(*of, "--file", "-", stdin=ASK).json,
    ]
    assert rows == [rows[0]] * 5


def test_at_a_terminal_it_is_shown_as_an_estimate():
    ended = at_terminal("estimate", ASK, "--model", "gpt-4o", "--max-output-tokens", "300")
    lines = ended.out.splitlines()
    assert (ended.status, lines[0]) == (0, "Estimate of one call")
    assert lines[1].split() == ["Model", "Input", "Output", "Expected", "At", "most"]
    assert lines[3].split() == ["gpt-4o", "13", "<=", "300", "~$0.0030325", "$0.00304"]
    assert lines[4:] == [
        "Expected is for an answer of 300 tokens.",
        "At most is what a hard budget would hold.",
    ]


def test_without_a_cap_the_expected_cost_is_that_of_the_prompt_and_says_so():
    ended = at_terminal("estimate", ASK, "--model", "claude-sonnet-4-5")
    assert "~15" in ended.out  # which is not exact
    assert "Expected is for the prompt alone, without --max-output-tokens." in ended.out
    assert max(map(len, ended.out.splitlines())) <= 80


def test_an_embedding_has_no_output():
    [row] = within("estimate", ASK, "--model", "text-embedding-3-small").json
    assert row["maxOutputTokens"] is None
    assert row["estimatedCostUsd"] == row["inputTokens"] * Decimal("2e-8")


def test_models_are_compared_and_what_has_no_price_is_told():
    both = ("--model", "gpt-4o", "--model", "nobody-1", "--model", "gpt-4o-mini")
    ended = within("estimate", ASK, *both)
    assert [row["model"] for row in ended.json] == ["gpt-4o", "nobody-1", "gpt-4o-mini"]
    assert [row["upperCostUsd"] is None for row in ended.json] == [False, True, False]
    assert ended.json[1]["inputTokens"] > 0
    assert (ended.status, told(ended).partition(":")[0]) == (1, "no price of tokens is known of 'nobody-1'")
    lines = within("estimate", ASK, *both, "--markdown").out.splitlines()
    assert lines[3].split("|")[-3:-1] == [" unknown ", " unknown "]


def test_a_prompt_beyond_the_models_window_is_pointed_out(file):
    of = ("estimate", "--model", "gpt-4o", "--markdown")
    assert "may not fit" not in within(*of, "--file", file).out
    file.write_text("word " * 200_000)
    shown = within(*of, "--file", file).out
    assert "gpt-4o reads 128,000 tokens at most: the prompt may not fit." in shown


@pytest.mark.parametrize("words", [("estimate", ASK, "--model", "gpt-4o"), ("prices", "show", "gpt-4o")])
@pytest.mark.parametrize("empty", [False, True], ids=["missing", "empty"])
def test_it_needs_no_ledger_and_makes_none(ledger_path, empty, words):
    if empty:
        ledger_path.touch()
    assert within(*words, "--ledger", ledger_path).status == 0
    assert [(file, file.stat().st_size) for file in ledger_path.parent.iterdir()] == [
        (ledger_path, 0)
    ] * empty


def test_prices_that_a_ledger_has_count_though_its_disk_cannot_be_written(ledger_path, tmp_path):
    assert within("prices", "set", "mine", "input=1000", "output=0", "--ledger", ledger_path).status == 0
    with small_disk(tmp_path / "small") as folder:
        copy = folder / "ledger.db"
        assert within("backup", copy, "--ledger", ledger_path).status == 0
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        [row] = within("estimate", ASK, "--model", "mine", "--ledger", copy).json
        assert row["estimatedCostUsd"] == row["inputTokens"] * Decimal("0.001")
        assert within("prices", "show", "mine", "--ledger", copy).json["source"] == "user"


@pytest.mark.parametrize("words", [("estimate", ASK, "--model", "gpt-4o"), ("prices", "show", "gpt-4o")])
def test_a_ledger_whose_prices_cannot_be_read_is_an_error(ledger_path, words):
    ledger_path.write_text("Dear diary, " * 1000)
    ended = within(*words, "--ledger", ledger_path)
    assert (ended.status, ended.out) == (1, "")
    assert "is not a SQLite database" in told(ended)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([ASK], "Missing option '--model'"),
        ([ASK, "--model", " "], "--model has no name"),
        (["", "--model", "gpt-4o"], "the prompt is empty"),
        (["--model", "gpt-4o"], "the prompt is empty"),
        (["-", "--file", "-", "--model", "gpt-4o"], "give PROMPT or --file, not both"),
        ([ASK, "--model", "gpt-4o", "--max-output-tokens", "0"], "0 is not in the range"),
        (["--file", "/nothing", "--model", "gpt-4o"], "'/nothing' does not exist"),
    ],
)
def test_wrong_usage_is_told(words, says):
    ended = within("estimate", *words)
    assert (ended.status, ended.out) == (2, "")
    assert says in told(ended)


def test_nobody_waits_at_a_terminal_for_a_prompt_that_was_not_asked_for():
    ended = at_terminal("estimate", "--model", "gpt-4o")
    assert ended.status == 2
    assert "Give PROMPT, --file, or pipe it in" in ended.out


@pytest.mark.parametrize("piped", [True, False])
def test_what_is_no_text_is_refused_and_not_quoted(file, piped):
    secret = "a secret".encode("utf-16")
    file.write_bytes(secret)
    words = () if piped else ("--file", file)
    ended = farthing("estimate", "--model", "gpt-4o", *words, stdin=secret)
    assert (ended.status, ended.out) == (1, "")
    assert told(ended) == f"{'what is piped in' if piped else file} is no text in UTF-8"


def test_ctrl_c_while_a_prompt_is_awaited_is_an_interruption():
    code = (
        "import sys, types, farthing.cli\n"
        "class Pipe:\n"
        "    def read(self, raw=sys.stdin.buffer):\n"
        "        print('ready', flush=True)\n"
        "        return raw.read()\n"
        "sys.stdin = types.SimpleNamespace(isatty=lambda: False, buffer=Pipe())\n"
        "sys.argv = ['farthing', 'estimate', '--model', 'gpt-4o']\n"
        "farthing.cli.main()\n"
    )
    with Program(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, out, err) == (130, b"", b"farthing: interrupted\n")
