"""`farthing run`: programs that know nothing of it, with what they start."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys

import pytest

from cli.running import COMMAND, environment, farthing, shown_until
from farthing import Meter
from farthing.testing import Reply
from program import Program

APP = """
import sys
from openai import OpenAI

def main():
    model = sys.argv[2] if len(sys.argv) > 2 else "gpt-4o"
    messages = [{"role": "user", "content": "hi"}]
    with OpenAI(api_key="k", max_retries=0) as client:
        for _ in range(int(sys.argv[1])):
            client.chat.completions.create(model=model, messages=messages, max_tokens=300)
    print("done", sys.argv[1:])

if __name__ == "__main__":
    main()
"""

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and statuses are those of POSIX")


@pytest.fixture
def app(tmp_path):
    """A program that makes as many calls as it is told to."""
    file = tmp_path / "app.py"
    file.write_text(APP)
    return file


@pytest.fixture
def run(provider, ledger_path, tmp_path):
    """`farthing run` with these arguments, on a ledger of the test's own."""

    def one(*arguments, **env):
        return farthing(
            "run",
            *arguments,
            cwd=tmp_path,
            **{"OPENAI_BASE_URL": provider.base_url, "FARTHING_LEDGER": str(ledger_path), **env},
        )

    return one


def rows(ledger_path):
    with Meter(ledger_path) as meter:
        assert meter.engine.ledger.check() == []
        assert meter.engine.ledger.facts()["open_calls"] == 0
        return list(reversed(meter.engine.ledger.calls()))


# -- what is metered --------------------------------------------------------------------------------


def test_an_unchanged_program_is_metered_and_the_total_told_on_stderr(run, app, ledger_path):
    ended = run("--account", "acme", "--tag", "user=ann", "--tag", "b=2", "--", sys.executable, app, "2")
    assert ended.status == 0
    assert ended.out == "done ['2']\n"
    assert ended.err == (
        "farthing: 2 calls, 2,400 input (2,048 cached) and 300 output tokens, cost $0.00644\n"
    )
    assert [(row["account"], row["tags"]) for row in rows(ledger_path)] == [
        ("acme", '{"b":"2","user":"ann"}')
    ] * 2


def test_modules_scripts_and_commands_of_the_shell_are_metered(run, app, tmp_path):
    script = tmp_path / "console-script"
    script.write_text(f"#!{sys.executable}\nimport sys\nfrom app import main\nsys.exit(main())\n")
    script.chmod(0o755)
    for command in (
        [sys.executable, "-m", "app", "1"],
        [script, "1"],
        ["sh", "-c", f"{sys.executable} app.py 1; exit $?"],
    ):
        ended = run("--", *command)
        assert (ended.status, ended.out) == (0, "done ['1']\n"), ended.err
        assert ended.err.startswith("farthing: 1 call, ")


CHILDREN = """
import multiprocessing, subprocess, sys
import app

def work(number):
    app.main()

if __name__ == "__main__":
    sys.argv[1:] = ["1"]
    for how in ("fork", "spawn", "forkserver"):
        child = multiprocessing.get_context(how).Process(target=work, args=(1,))
        child.start()
        child.join()
        assert child.exitcode == 0
    subprocess.run([sys.executable, "app.py", "1"], check=True)
    app.main()
"""


def test_children_of_every_kind_are_metered_in_the_same_run(run, app, tmp_path, ledger_path):
    (tmp_path / "parent.py").write_text(CHILDREN)
    ended = run("--budget", "$1", "--", sys.executable, "parent.py")
    assert ended.status == 0, ended.err
    assert ended.err.startswith("farthing: 5 calls, ")
    assert len({row["run"] for row in rows(ledger_path)}) == 1


def test_what_follows_the_command_is_its_own(run, app):
    ended = run(sys.executable, "-c", "import sys; print(sys.argv[1:])", "--budget", "x", "--", "--help")
    assert (ended.status, ended.out) == (0, "['--budget', 'x', '--', '--help']\n")
    assert ended.err == "farthing: no calls\n"


def test_the_total_is_of_this_run_alone_and_says_what_it_leaves_out(run, app, provider):
    run("--", sys.executable, app, "3")
    assert run("--", sys.executable, app, "1", "mystery-1").err.splitlines()[-2:] == [
        "farthing: 1 call, 1,200 input (1,024 cached) and 150 output tokens, cost unknown",
        "farthing: no price is known for 1 call, whose cost is in no sum",
    ]
    provider.script(Reply(status=400))
    ended = run("--", sys.executable, app, "1")
    assert ended.status == 1
    assert ended.err.splitlines()[-1] == "farthing: 1 call of these failed and cost nothing"


def test_a_run_without_a_call_makes_no_ledger(run, ledger_path):
    assert run("--", "true").err == "farthing: no calls\n"
    assert not ledger_path.exists()


AWARE = """
import farthing
from openai import OpenAI
ask = dict(model="gpt-4o", messages=[{"role": "user", "content": "hi"}], max_tokens=300)
with farthing.wrap(OpenAI(api_key="k"), account="own") as client, farthing.scope() as scope:
    client.chat.completions.create(**ask)
    assert scope.calls == 1
farthing.instrument(account="all")
with OpenAI(api_key="k") as client:
    client.chat.completions.create(**ask)
    with farthing.Meter(":memory:") as meter:
        try:
            meter.instrument()
        except farthing.FarthingError:
            print("taken")
    client.chat.completions.create(**ask)
"""


def test_a_program_that_uses_farthing_itself_is_counted_once_and_within_the_budget(run, ledger_path):
    ended = run("--budget", "$0.007", "--tag", "a=1", "--", sys.executable, "-c", AWARE)
    assert (ended.status, ended.out) == (3, "taken\n")
    assert ended.err.splitlines()[-2:] == [
        "farthing: 2 calls, 2,400 input (2,048 cached) and 300 output tokens, cost $0.00644",
        "farthing: 1 call refused, which cost nothing",
    ]
    first, second = rows(ledger_path)
    assert [row["account"] for row in (first, second)] == ["own", "all"]
    assert [row["tags"] for row in (first, second)] == ['{"a":"1"}'] * 2
    assert first["run"].startswith(f"{second['run']}/")


# -- budgets ----------------------------------------------------------------------------------------

TWICE = """
import subprocess, sys
command = [sys.executable, "app.py", "1"]
print([subprocess.run(command, stderr=subprocess.DEVNULL).returncode for _ in range(3)])
"""


def test_a_budget_without_a_period_is_one_for_all_processes_of_the_run_and_new_for_the_next(
    run, app, provider
):
    for _ in range(2):  # a later process has learnt that short questions are billed 1,200 tokens
        ended = run("--budget", "$0.0095", "--", sys.executable, "-c", TWICE)
        assert ended.out.splitlines()[-1] == "[0, 0, 3]"
        assert ended.err.splitlines()[-1] == "farthing: 1 call refused, which cost nothing"
    assert len(provider.requests) == 4


def test_a_budget_of_a_period_is_shared_by_runs_of_one_name(run, app):
    command = ("--budget", "$0.0063/total", "--", sys.executable, app, "1")
    assert [run(*command).status for _ in range(2)] == [0, 3]
    assert [run("--name", "other", *command).status for _ in range(2)] == [0, 3]


def test_a_run_inside_a_run_is_bound_by_both_budgets_and_in_both_totals(run, app):
    inner = (*COMMAND, "run", "--budget", "$1", "--tag", "b=2", "--", sys.executable, app, "3")
    ended = run("--budget", "$0.005", "--", *inner)
    assert ended.status == 3
    totals = [line for line in ended.err.splitlines() if line.startswith("farthing: ")]
    assert totals[:2] == totals[2:]
    assert totals[1] == "farthing: 1 call refused, which cost nothing"


def test_no_budget_of_a_run_is_left_behind_as_a_standing_one(run, app, ledger_path):
    run("--budget", "$1/day", "--", sys.executable, app, "1")
    with Meter(ledger_path) as meter:
        assert meter.budgets() == []


# -- how it ends ------------------------------------------------------------------------------------

REFUSED = """
import farthing, sys
from openai import OpenAI
try:
    OpenAI(api_key="k").chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "hi"}], max_tokens=300
    )
except farthing.Refused as refused:
    error = refused
"""


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("raise error", 3),
        ("raise ValueError('mine') from error", 3),
        ("raise ExceptionGroup('several', [error])", 3),
        ("raise ValueError('mine')", 1),
        ("sys.excepthook = lambda *_: None; raise error", 1),
        ("sys.exit(str(error))", 1),
        ("sys.exit(9)", 9),
        ("print('handled')", 0),
    ],
)
def test_a_program_that_dies_of_a_refusal_ends_with_3_and_others_as_they_do(run, end, status):
    ended = run("--budget", "0.0001", "--", sys.executable, "-c", REFUSED + end)
    assert ended.status == status
    if status == 3:
        assert "Traceback (most recent call last):" in ended.err
        assert "InsufficientCredits: " in ended.err
    assert ended.err.splitlines()[-2:] == [
        "farthing: no calls",
        "farthing: 1 call refused, which cost nothing",
    ]


def test_what_a_program_does_at_its_exit_is_done_after_a_refusal_too(run):
    code = "import atexit; atexit.register(print, 'bye')" + REFUSED + "raise error"
    ended = run("--budget", "0.0001", "--", sys.executable, "-c", code)
    assert (ended.status, ended.out) == (3, "bye\n")


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        (["sh", "-c", "exit 7"], 7, "no calls"),
        (["sh", "-c", "kill -9 $$"], 137, "it was killed"),
        (["no-such-command-anywhere"], 127, "there is no such command"),
        (["/"], 126, "ermission denied"),
    ],
)
def test_statuses_are_those_that_shells_have(run, command, status, said):
    ended = run("--", *command)
    assert ended.status == status
    assert said in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    "wrong",
    [
        ["--budget", "€5", "--", "echo", "ran"],
        ["--tag", "a", "--", "echo", "ran"],
        ["--account", "", "--", "echo", "ran"],
        ["--nothing", "--", "echo", "ran"],
        ["--budget", "$1", "--"],
        [],
    ],
)
def test_nothing_is_run_where_the_options_make_no_sense(run, wrong):
    ended = run(*wrong)
    assert (ended.status, ended.out) == (2, "")
    [line] = ended.err.splitlines()
    assert line.startswith("farthing: ")


def test_a_ledger_that_processes_cannot_share_is_refused(run):
    ended = run("--ledger", ":memory:", "--", "echo", "ran")
    assert (ended.status, ended.out) == (1, "")


def test_a_relative_ledger_stays_where_it_was_meant(run, app, tmp_path):
    (tmp_path / "deep").mkdir()
    move = "import app, os, sys; os.chdir('deep'); sys.argv[1:] = ['1']; app.main()"
    ended = run("--ledger", "here.db", "--", sys.executable, "-c", move)
    assert ended.err.startswith("farthing: 1 call, "), ended.err
    assert len(rows(tmp_path / "here.db")) == 1


def test_accounting_that_is_switched_off_is_said(run, app, ledger_path):
    ended = run("--", sys.executable, app, "1", FARTHING_DISABLED="1")
    assert (ended.status, ended.err) == (0, "farthing: accounting is switched off: nothing was counted\n")
    assert not ledger_path.exists()


# -- the start of Python -----------------------------------------------------------------------------


def test_the_sitecustomize_that_was_there_is_run_and_nothing_of_ours_is_left_on_the_path(run, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("print('theirs')\n")
    code = "import sys, sitecustomize; print(sitecustomize.__file__, [p for p in sys.path if 'boot' in p])"
    path = os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]])
    ended = run("--", sys.executable, "-c", code, PYTHONPATH=path)
    ours, program, said = ended.out.splitlines()
    assert (ours, program, said) == ("theirs", "theirs", f"{tmp_path / 'sitecustomize.py'} []")


def test_an_error_in_that_sitecustomize_is_shown_as_python_shows_it(run, app, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("1 / 0\n")
    path = os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]])
    ended = run("--", sys.executable, app, "1", PYTHONPATH=path)
    assert ended.status == 0
    assert "Error in sitecustomize" in ended.err
    assert "ZeroDivisionError" in ended.err
    assert ended.err.splitlines()[-1].startswith("farthing: 1 call, ")


def test_a_program_that_loads_no_sdk_does_not_load_farthing(run):
    code = "import sys; print({'farthing', 'wrapt', 'openai'} & set(sys.modules))"
    assert run("--", sys.executable, "-c", code).out == "set()\n"


@pytest.mark.parametrize("budget", [(), ("--budget", "$1")], ids=["no budget", "budget"])
def test_a_python_without_farthing_is_told_and_does_not_escape_a_budget(run, tmp_path, budget):
    (tmp_path / "openai.py").write_text("print('loaded')\n")
    code = "import sys; sys.modules['farthing'] = None; import openai"
    ended = run(*budget, "--", sys.executable, "-c", code)
    assert "cannot meter its calls" in ended.err
    assert (ended.status, ended.out) == ((1, "") if budget else (0, "loaded\n"))


# -- signals ----------------------------------------------------------------------------------------

WAITS = """
import os, signal
mine = {signal.SIGINT, signal.SIGTERM}
signal.pthread_sigmask(signal.SIG_BLOCK, mine)
print("ready", flush=True)
first = signal.sigwait(mine)
if first == signal.SIGINT:
    os.kill(os.getppid(), signal.SIGTERM)
    second = signal.sigwait({signal.SIGTERM})
more = signal.sigpending() & mine
print("got", first.name, "and then", sorted(s.name for s in more), flush=True)
raise SystemExit(5)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_to_us_is_passed_on_once(number, ledger_path):
    command = [*COMMAND, "run", "--ledger", str(ledger_path), "--", sys.executable, "-c", WAITS]
    with Program(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert out == f"got {number.name} and then []\n"
    assert (process.returncode, err) == (5, "farthing: no calls\n")


def test_what_the_terminal_has_sent_to_both_is_not_passed_on_again(ledger_path):
    ours, theirs = pty.openpty()
    command = [*COMMAND, "run", "--ledger", str(ledger_path), "--", sys.executable, "-c", WAITS]
    ours_is_theirs = "import fcntl, os, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)"
    start = f"{ours_is_theirs}; os.execv({command[0]!r}, {command!r})"
    with Program(
        [sys.executable, "-c", start],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(),
        start_new_session=True,
    ) as process:
        os.close(theirs)
        shown_until(ours, b"ready")
        os.write(ours, b"\x03")
        seen = shown_until(ours, None).decode()
        status = process.wait()
    with contextlib.suppress(OSError):
        os.close(ours)
    assert "got SIGINT and then []" in seen
    assert status == 5
