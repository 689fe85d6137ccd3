"""How commands end: exit status, one line on stderr, nothing changed by what went wrong."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.running import COMMAND, at_terminal, environment, farthing, told, within
from farthing import InsufficientCredits, Meter
from farthing.cli.app import app
from farthing.cli.text import exact_json, nano, one_line, plain
from farthing.cli.told import Told
from farthing.cli.told import told as in_words
from program import Program

DOCS = Path(__file__).resolve().parents[2] / "docs" / "cli.md"


def leaves(group=app, path=()):
    """Every command, by the words that call it."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(leaves())
ASKING = ["report", "calls", "budget list", "budget remove b", "doctor"]
WRITING = ["budget set b 5", "import -"]


# -- help -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [(), ("budget",), ("prices",), *COMMANDS], ids=" ".join)
def test_every_command_has_help(path):
    for flag in ("--help", "-h"):
        result = within(*path, flag)
        assert result.status == 0
        assert result.out.startswith(f"Usage: farthing {' '.join(path)}".rstrip())
        assert max(map(len, result.out.splitlines())) <= 80


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_takes_a_ledger_and_every_answer_a_form(path):
    options = {name for param in COMMANDS[path].params for name in param.opts}
    forms = set() if path in {("demo",), ("run",)} else {"--json", "--csv", "--markdown"}
    assert {"--ledger"} | forms <= options


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_and_every_option_of_it_is_in_the_docs(path):
    text = DOCS.read_text(encoding="utf-8")
    assert f"farthing {' '.join(path)}" in text
    for param in COMMANDS[path].params:
        if isinstance(param, click.Option):
            assert f"`{param.opts[0]}" in text, param.opts


@pytest.mark.parametrize("words", [[], ["budget"], ["prices"]])
def test_without_a_command_the_help_is_shown(words):
    ended = farthing(*words)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith(f"Usage: {' '.join(['farthing', *words])} [OPTIONS]")


def test_the_version_is_that_of_the_package():
    assert farthing("--version").out == f"farthing {__import__('farthing').__version__}\n"


# -- wrong usage and errors -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nothing"], "No such command 'nothing'"),
        (["budget", "nothing"], "No such command 'nothing'"),
        (["report", "--nothing"], "No such option"),
        (["report", "--by", "colour"], "'colour' is not one of"),
        (["report", "--since", "yesterday"], "'yesterday' is no date such as 2026-11-21"),
        (["report", "--until", "2026-02-30"], "'2026-02-30' is no date such as"),
        (["report", "--since", "2026-11-21T08:00"], "'2026-11-21T08:00' has no time zone"),
        (["calls", "--limit", "0"], "0 is not in the range"),
        (["calls", "--limit", "x"], "'x' is not a valid integer"),
        (["report", "--ledger", ""], "Invalid value for '--ledger': it names no file"),
        (["prices", "set"], "Missing argument 'MODEL'"),
        (["prices", "show", "gpt-4o", "--at", "now"], "'now' is no date"),
    ],
)
def test_wrong_usage_is_told_in_a_line_that_names_the_help(words, says):
    ended = within(*words)
    assert (ended.status, ended.out) == (2, "")
    assert says in told(ended)
    assert "--help`)" in told(ended)


def test_a_range_that_ends_before_it_begins_is_wrong_usage(ledger):
    ended = farthing("report", "--since", "2026-11-02", "--until", "2026-11-01", "--ledger", ledger)
    assert (ended.status, told(ended)) == (2, "--until is before --since (see `farthing report --help`)")


@pytest.mark.parametrize("words", [w for w in ASKING if w != "doctor"])
def test_asking_makes_no_ledger(words, ledger_path):
    ended = farthing(*words.split(), "--ledger", ledger_path)
    assert (ended.status, ended.out) == (1, "")
    assert told(ended).startswith(f"there is no ledger at {ledger_path}")
    assert list(ledger_path.parent.iterdir()) == []


def newer(path):
    with Meter(path) as meter:
        meter.warm()
    with closing(sqlite3.connect(path)) as conn, conn:
        row = ("farthing", "9 new", "")
        conn.execute("INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES (?, ?, ?)", row)


def foreign(path):
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("CREATE TABLE mine (a)")


def damaged(path):
    with Meter(path) as meter:
        meter.warm()
    data = bytearray(path.read_bytes())
    for page in range(2048, len(data), 2048):
        data[page : page + 64] = b"\xff" * 64
    path.write_bytes(data)


def no_database(path):
    path.write_text("Dear diary, " * 1000)


@pytest.mark.parametrize("words", [*ASKING, *WRITING])
@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (newer, "was written by a newer farthing"),
        (foreign, "is a SQLite database, but not a ledger"),
        (damaged, "is damaged or not a ledger"),
        (no_database, "is not a SQLite database"),
        (Path.mkdir, "is a folder"),
    ],
)
def test_a_ledger_that_cannot_be_used_is_told_in_one_sentence_and_left_alone(ledger_path, words, spoil, says):
    spoil(ledger_path)
    before = None if ledger_path.is_dir() else ledger_path.read_bytes()
    ended = within(*words.split(), "--ledger", ledger_path)
    assert ended.status == 1
    assert told(ended).startswith(f"{ledger_path} {says}")
    assert before is None or ledger_path.read_bytes() == before


def test_a_ledger_on_a_server_shows_no_password():
    ended = farthing("report", "--ledger", "postgresql://me:word@db/farthing")
    assert ended.status == 1
    assert "PostgreSQL is not supported by this release" in told(ended)
    assert "word" not in ended.err


@pytest.mark.parametrize("words", [["import", "-"], ["estimate", "-", "--model", "gpt-4o"]])
def test_a_closed_standard_input_is_wrong_usage(words, ledger_path):
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *COMMAND, *words, "--ledger", str(ledger_path)],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert f"standard input is closed (see `farthing {words[0]} --help`)" in done.stderr.replace("\n", " ")
    assert list(ledger_path.parent.iterdir()) == []


def test_settings_that_make_no_sense_are_told(tmp_path):
    (tmp_path / "farthing.toml").write_text("ledger = [\n")
    ended = farthing("report", cwd=tmp_path)
    assert ended.status == 1
    assert f"{tmp_path / 'farthing.toml'} cannot be read" in told(ended)


def test_the_ledger_is_found_as_programs_find_it(tmp_path, ledger):
    assert len(farthing("calls", FARTHING_LEDGER=str(ledger)).json) == 3
    (tmp_path / "farthing.toml").write_text(f"ledger = {json.dumps(str(ledger))}\nbudget = '$1/day'\n")
    assert len(farthing("calls", cwd=tmp_path).json) == 3
    with Meter(ledger) as meter:
        assert meter.budgets() == []  # a command that only asks declares nothing
    assert farthing("calls", cwd=tmp_path, FARTHING_DISABLED="true").status == 0


# -- what is told ---------------------------------------------------------------------------------


def test_a_refusal_is_status_3():
    ended = in_words(InsufficientCredits("not enough"))
    assert (ended.exit_code, ended.message) == (3, "not enough")


def test_an_error_of_our_own_says_where_and_not_what():
    try:
        {}["a secret prompt"]
    except KeyError as error:
        ended = in_words(error)
    assert ended.exit_code == 1
    assert "KeyError in test_an_error_of_our_own" in ended.message
    assert "secret" not in ended.message


def test_errors_of_the_system_name_the_file():
    assert in_words(FileNotFoundError(2, "No such file or directory", "x.db")).message == (
        "x.db: No such file or directory"
    )
    assert in_words(ModuleNotFoundError("gone", name="rich")).message.startswith(
        "the package 'rich' is missing"
    )


def test_what_is_told_is_one_line(capsys):
    Told("two\nlines\x1b[2J").show()
    assert capsys.readouterr().err == "farthing: two lines?[2J\n"


def test_a_reader_that_leaves_early_is_no_error(ledger_path, book):
    book(1, account="a" * 100_000)
    with Program(
        [*COMMAND, "calls", "--ledger", str(ledger_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode in {0, 1}


def test_importing_the_command_line_loads_nothing_heavy():
    code = (
        "import sys, farthing.cli; "
        "print(sorted({'click', 'rich', 'openai', 'sqlite3', 'genai_prices', 'tiktoken'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_help_loads_neither_ledger_nor_prices():
    code = (
        "import sys, farthing.cli.app; "
        "print(sorted({'rich', 'openai', 'sqlite3', 'genai_prices', 'tiktoken'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_the_demo_shows_itself_and_leaves_a_ledger_that_adds_up(ledger_path):
    ended = at_terminal("demo", "--ledger", ledger_path, columns=40)
    assert ended.status == 0, ended.out
    assert "$0.0261125" in ended.out  # whole, however narrow the terminal
    assert farthing("doctor", "--check", "--ledger", ledger_path).status == 0


# -- text -----------------------------------------------------------------------------------------

_LEAF = (
    st.none() | st.booleans() | st.integers() | st.text() | st.decimals(allow_nan=False, allow_infinity=False)
)


@given(
    st.recursive(
        _LEAF,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=12,
    )
)
def test_json_has_every_digit_of_every_number(value):
    for ascii_only in (False, True):
        text = exact_json(value, ascii_only=ascii_only)
        assert json.loads(text, parse_float=Decimal, parse_int=Decimal) == value


@given(st.integers(-(10**18), 10**18))
def test_usd_and_nano_dollars_are_the_same_money(amount):
    assert nano(Decimal(amount).scaleb(-9)) == amount
    assert nano(None) is None


@given(st.text())
def test_what_is_shown_is_printable(text):
    assert plain(text).isprintable()
    assert len(plain(text)) == len(text)
    assert len(one_line(text).splitlines()) <= 1
