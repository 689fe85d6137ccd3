"""`farthing import`."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.running import COMMAND, at_terminal, environment, farthing, shown_until, told, within
from farthing import Budget, Meter
from farthing.cli.intake import Source, items
from program import Program

CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_790_000_000,
    "model": "gpt-4o-2024-08-06",
    "choices": [{"message": {"role": "assistant", "content": "a secret"}}],
    "usage": {
        "prompt_tokens": 1200,
        "completion_tokens": 150,
        "total_tokens": 1350,
        "prompt_tokens_details": {"cached_tokens": 1024},
    },
}
CLAUDE = {
    "id": "msg_1",
    "type": "message",
    "model": "claude-sonnet-4-5",
    "usage": {"input_tokens": 100, "output_tokens": 20},
}
VECTORS = {
    "object": "list",
    "model": "text-embedding-3-small",
    "usage": {"prompt_tokens": 10, "total_tokens": 10},
}


def written(path, *records, end="\n"):
    path.write_text(
        "\n".join(r if isinstance(r, str) else json.dumps(r) for r in records) + end, encoding="utf-8"
    )
    return path


def counts(ended):
    return ended.json["new"], ended.json["alreadyThere"], ended.json["broken"]


def calls(ledger):
    with Meter(ledger) as meter:
        return meter.reports.records()


@pytest.fixture
def file(tmp_path):
    return tmp_path / "bodies.jsonl"


@pytest.mark.parametrize(
    "shape", ["lines", "list", "pretty list", "one", "pretty one", "blank lines", "marked"]
)
def test_every_shape_of_file_is_understood(file, ledger_path, shape):
    both = [CHAT, CLAUDE]
    text = {
        "lines": "\n".join(map(json.dumps, both)),
        "list": json.dumps(both),
        "pretty list": json.dumps(both, indent=2),
        "one": json.dumps(CHAT),
        "pretty one": json.dumps(CHAT, indent=2),
        "blank lines": "\n\n" + "\r\n\r\n".join(map(json.dumps, both)) + "\n\n",
        "marked": "\ufeff" + "\n".join(map(json.dumps, both)),
    }[shape]
    file.write_text(text, encoding="utf-8", newline="")
    ended = within("import", file, "--ledger", ledger_path)
    assert (ended.status, ended.err) == (0, "")
    expected = 1 if "one" in shape else 2
    assert counts(ended) == (expected, 0, 0)
    with Meter(ledger_path) as meter:
        costs = [row.cost for row in meter.reports.top()]
        assert costs == [Decimal("0.00322"), Decimal("0.0006")][:expected]
        assert meter.engine.ledger.check() == []


def test_what_is_piped_in_is_read_too(ledger_path):
    ended = farthing("import", "-", "--ledger", ledger_path, stdin=json.dumps(CHAT))
    assert counts(ended) == (1, 0, 0)


def test_a_row_keeps_what_the_record_said(file, ledger_path):
    envelope = {
        "body": CLAUDE,
        "provider": "anthropic",
        "account": "acme",
        "id": "mine-1",
        "date": "2026-11-01T08:00:00+02:00",
        "tags": {"user": "ann"},
        "context": "system",
    }
    within("import", written(file, envelope, CHAT | {"account": "zoe"}), "--ledger", ledger_path)
    claude, chat = calls(ledger_path)
    assert (claude.account, claude.provider, claude.context) == ("acme", "anthropic", "system")
    assert (claude.transaction_id, claude.response_id) == ("import:mine-1", "msg_1")
    assert claude.started_at == datetime(2026, 11, 1, 6, tzinfo=UTC)
    assert (claude.tags, claude.flags, claude.operation) == ({"user": "ann"}, ("imported",), "chat")
    assert chat.account == "zoe"
    assert chat.started_at == datetime.fromtimestamp(1_790_000_000, UTC)
    assert (chat.usage.cached_tokens, chat.operation) == (1024, "chat")


@pytest.mark.parametrize(
    ("date", "instant"),
    [
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T08:00:00Z", datetime(2026, 11, 1, 8, tzinfo=UTC)),
        (1_793_520_000, datetime(2026, 11, 1, 8, tzinfo=UTC)),
        (1_793_520_000.5, datetime(2026, 11, 1, 8, 0, 0, 500_000, tzinfo=UTC)),
    ],
)
def test_dates_are_days_instants_or_seconds(file, ledger_path, date, instant):
    within("import", written(file, {"body": CHAT, "date": date}), "--ledger", ledger_path)
    assert [call.started_at for call in calls(ledger_path)] == [instant]


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ("{broken", "is not JSON"),
        ('{"model": NaN}', "is not JSON"),
        ("[1, 2]", "is no JSON object"),
        ("[" * 100_000, "is nested too deeply"),
        ('"a secret"', "is no JSON object"),
        ({"error": {"message": "a secret"}}, "states no usage"),
        (CHAT | {"model": None}, "names no model"),
        (CHAT | {"usage": {"prompt_tokens": -5, "completion_tokens": 1}}, "states counts that cannot be"),
        (CHAT | {"usage": {"prompt_tokens": "a secret"}}, "states counts that cannot be"),
        (
            CHAT | {"date": "2026-11-01T08:00:00"},
            "date has no time zone: add Z or an offset, or give a plain date",
        ),
        (CHAT | {"date": "a secret"}, "date is no date such as 2026-11-21 or 2026-11-21T08:00:00Z"),
        (CHAT | {"date": 1_793_520_000_000}, "date is no number of seconds since 1970"),
        (CHAT | {"date": True}, "date must be a text or seconds since 1970"),
        (CHAT | {"account": ["a secret"]}, "account must be a text"),
        ({"body": CHAT, "id": {"a": "secret"}}, "id must be a text of 1 to 200 characters"),
        ({"body": CHAT, "context": "a secret"}, "context must be 'customer' or 'system'"),
        ({"body": CHAT, "operation": "a secret"}, "operation must be one of"),
        ({"body": CHAT, "tags": "a secret"}, "tags must map text to text"),
        ({"body": CHAT, "cost": "a secret"}, "cost must be a number of USD"),
    ],
)
def test_what_is_broken_is_skipped_and_told_without_quoting_it(file, ledger_path, record, says):
    ended = within("import", written(file, CLAUDE, record, VECTORS), "--ledger", ledger_path)
    assert ended.status == 1
    assert counts(ended) == (2, 0, 1)
    [fault] = ended.json["errors"]
    assert fault["line"] == 2
    assert fault["reason"].startswith(says)
    assert told(ended) == "1 of 3 records could not be booked"
    assert "secret" not in ended.out + ended.err


def test_a_file_that_is_no_json_at_all_is_told_line_by_line(file, ledger_path):
    for text in ("{\nhello\n", "hello\nworld\n", "[1,\n", '{"a": \n{"b": \n'):
        file.write_text(text)
        ended = within("import", file, "--ledger", ledger_path)
        assert ended.status == 1
        assert {fault["reason"] for fault in ended.json["errors"]} == {"is not JSON"}
    file.write_bytes(b"\xff\xfe\x00")
    assert within("import", file, "--ledger", ledger_path).json["errors"][0]["reason"] == "is not in UTF-8"


def test_the_same_file_again_books_nothing(file, ledger_path):
    written(file, CHAT, CLAUDE, VECTORS, VECTORS, {"body": CHAT, "id": "mine-1"})
    assert counts(farthing("import", file, "--ledger", ledger_path)) == (5, 0, 0)
    assert counts(within("import", file, "--ledger", ledger_path)) == (0, 5, 0)
    assert counts(within("import", file.rename(file.with_name("copy")), "--ledger", ledger_path)) == (
        0,
        5,
        0,
    )


def test_a_file_that_has_grown_or_was_mended_books_only_what_is_new(file, ledger_path):
    within("import", written(file, CHAT, "{broken"), "--ledger", ledger_path)
    mended = written(file, CHAT, CHAT | {"id": "chatcmpl-2"}, CLAUDE)
    assert counts(within("import", mended, "--ledger", ledger_path)) == (2, 1, 0)


def test_a_server_that_repeats_its_ids_loses_no_call(file, ledger_path):
    other = CHAT | {"created": CHAT["created"] + 1}
    assert counts(within("import", written(file, CHAT, other), "--ledger", ledger_path)) == (2, 0, 0)


def test_equal_calls_without_an_id_are_two_and_the_file_says_which_is_which(file, ledger_path):
    ended = within("import", written(file, VECTORS, VECTORS), "--ledger", ledger_path)
    assert counts(ended) == (2, 0, 0)
    assert (ended.json["withoutId"], ended.json["withoutDate"]) == (2, 2)


def test_an_id_with_other_content_is_a_conflict_and_the_first_stands(file, ledger_path):
    record = {"body": CHAT, "id": "mine-1", "account": "acme"}
    within("import", written(file, record), "--ledger", ledger_path)
    ended = within("import", written(file, record | {"body": CLAUDE}), "--ledger", ledger_path)
    assert ended.status == 1
    assert ended.json["errors"] == [{"line": 1, "reason": "was booked before with other content"}]
    assert [call.model for call in calls(ledger_path)] == [CHAT["model"]]


def test_imported_calls_count_in_the_windows_of_their_own_day(file, ledger_path):
    with Meter(ledger_path, budgets=[Budget("all", 1, "total")]) as meter:
        meter.warm()
    within("import", written(file, CHAT), "--ledger", ledger_path)
    with Meter(ledger_path) as meter:
        assert [state.spent for state in meter.reports.budgets()] == [Decimal("0.00322")]


def test_a_bill_of_openrouter_is_its_own_whoever_served_it(file, ledger_path):
    body = CHAT | {"id": "gen-1", "provider": "OpenAI", "model": "openai/gpt-4o"}
    body["usage"] = CHAT["usage"] | {"cost": 0.0123}
    within("import", written(file, body), "--ledger", ledger_path)
    [call] = calls(ledger_path)
    assert (call.provider, call.cost, call.cost_source) == ("openrouter", Decimal("0.0123"), "reported")
    within("import", written(file, body | {"id": "gen-2", "provider": "openai"}), "--ledger", ledger_path)
    assert {call.provider for call in calls(ledger_path)} == {"openrouter", "openai"}


def line_of(body, custom_id="r-1", status=200):
    response = {"status_code": status, "request_id": "q", "body": body}
    return {"id": "batch_req_1", "custom_id": custom_id, "response": response, "error": None}


def result_of(message, kind="succeeded"):
    return {"custom_id": "r-1", "result": {"type": kind, "message": message}}


def test_the_output_of_a_batch_is_booked_at_batch_rates(file, ledger_path):
    written(file, line_of(CHAT), result_of(CLAUDE))
    ended = within("import", file, "--ledger", ledger_path)
    assert (ended.status, counts(ended), ended.json["notBilled"]) == (0, (2, 0, 0), 0)
    rows = {row.provider: row for row in calls(ledger_path)}
    assert {row.service_tier for row in rows.values()} == {"batch"}
    # 176 x 1.25 + 1024 x 0.625 + 150 x 5 USD per million; 100 x 1.5 + 20 x 7.5
    assert rows["openai"].cost == Decimal("0.00161")
    assert rows["anthropic"].cost == Decimal("0.0003")
    assert rows["openai"].started_at == datetime.fromtimestamp(1_790_000_000, UTC)
    assert counts(within("import", file, "--ledger", ledger_path)) == (0, 2, 0)


def test_requests_of_a_batch_that_failed_are_left_out_and_told(file, ledger_path):
    error = {"id": "x", "custom_id": "r-2", "response": None, "error": {"code": "batch_expired"}}
    written(file, line_of(CHAT), line_of({"error": {}}, status=400), error, result_of(None, "errored"))
    ended = within("import", file, "--ledger", ledger_path)
    assert (ended.status, counts(ended), ended.json["notBilled"]) == (0, (1, 0, 0), 3)


def test_records_that_name_no_provider_or_model_may_be_given_one(file, ledger_path):
    nova = {"usage": {"inputTokens": 1000, "outputTokens": 100, "totalTokens": 1100}}
    written(file, {"recordId": "1", "modelInput": {}, "modelOutput": nova}, CHAT)
    asked = ("import", file, "--ledger", ledger_path)
    assert within(*asked).json["errors"] == [{"line": 1, "reason": "names no model"}]
    written(file, {"recordId": "1", "modelInput": {}, "modelOutput": nova}, {**CHAT, "id": "chatcmpl-2"})
    named = within(*asked, "--provider", "azure", "--model", "amazon.nova-pro-v1:0")
    assert named.status == 0
    rows = [(row.provider, row.model) for row in calls(ledger_path)]
    assert sorted(rows) == [
        ("azure", "amazon.nova-pro-v1:0"),
        ("azure", "gpt-4o-2024-08-06"),
        ("openai", "gpt-4o-2024-08-06"),
    ]


def test_at_a_terminal_there_is_a_bar_and_then_the_sums(file, ledger_path):
    ended = at_terminal("import", written(file, CHAT, "{broken"), "--ledger", ledger_path)
    assert ended.status == 1
    assert "1 booked" in ended.out
    assert "1 new, 0 already there, 1 broken" in ended.out
    assert ended.out.splitlines()[-1] == "farthing: 1 of 2 records could not be booked"


def test_csv_and_markdown_list_what_is_broken_and_the_sums_stand_beside_it(file, ledger_path):
    written(file, CHAT, "{broken", CLAUDE)
    ended = within("import", file, "--csv", "--ledger", ledger_path)
    assert (ended.status, ended.out) == (1, "line,reason\n2,is not JSON\n")
    assert told(ended) == "1 of 3 records could not be booked; 2 new, 0 already there"
    written(file, CHAT, CHAT | {"id": "chatcmpl-2"})
    ended = within("import", file, "--csv", "--ledger", ledger_path)
    assert (ended.status, ended.out, told(ended)) == (0, "line,reason\n", "1 new, 1 already there, 0 broken")
    assert (
        "\n0 new, 2 already there, 0 broken.\n"
        in within("import", file, "--markdown", "--ledger", ledger_path).out
    )
    assert within("import", file, "--ledger", ledger_path).err == ""


def test_faults_beyond_a_thousand_are_counted_only(file, ledger_path):
    ended = within("import", written(file, *["{"] * 1_002, CHAT), "--ledger", ledger_path)
    assert counts(ended) == (1, 0, 1_002)
    assert (len(ended.json["errors"]), ended.json["errorsLeftOut"]) == (1_000, 2)


def test_a_file_that_is_not_there_is_wrong_usage(tmp_path, ledger_path):
    assert within("import", tmp_path / "nothing", "--ledger", ledger_path).status == 2
    assert not ledger_path.exists()


def test_ctrl_c_keeps_what_is_booked_and_says_so(ledger_path):
    """The records come through a pipe that stays open, and the bar on the terminal tells when to strike."""
    command = [*COMMAND, "import", "-", "--ledger", str(ledger_path)]
    ours, theirs = pty.openpty()
    with Program(
        command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=theirs
    ) as process:
        os.close(theirs)
        for number in range(600):
            process.stdin.write(json.dumps(CHAT | {"id": f"chatcmpl-{number}"}).encode() + b"\n")
        process.stdin.flush()
        seen = shown_until(ours, b"500 booked")
        process.send_signal(signal.SIGINT)
        seen += shown_until(ours, None)
        assert process.stdout.read() == b""
    os.close(ours)
    assert process.returncode == 130
    last = seen.decode().splitlines()[-1]
    assert last.endswith("farthing: interrupted; 500 records are booked; import the file again to go on")
    with Meter(ledger_path) as meter:
        assert meter.reports.summary().calls == 500


def test_lines_are_read_one_by_one():
    stream = io.BufferedReader(io.BytesIO(b'{"a": 1}\n' * 100_000), buffer_size=1_000)
    source = Source(stream, None)
    first = next(iter(items(source)))
    assert (first.place, first.record, source.taken) == (1, {"a": 1}, 18)  # the second tells what shape it is


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data):
    for item in items(Source(io.BytesIO(data), None)):
        assert item.place >= 1


@given(st.lists(st.dictionaries(st.text(), st.integers() | st.text(), max_size=3), min_size=1, max_size=5))
def test_records_come_back_as_they_were_in_any_shape(records):
    lines = "\n".join(map(json.dumps, records)).encode()
    for data in (lines, json.dumps(records).encode(), json.dumps(records, indent=1).encode()):
        assert [item.record for item in items(Source(io.BytesIO(data), None))] == records


def test_counts_that_contradict_each_other_are_cut_to_what_is_possible_and_flagged(file, ledger_path):
    usage = CHAT["usage"] | {"prompt_tokens_details": {"cached_tokens": 5000}}
    written(file, CHAT | {"usage": usage})
    assert counts(farthing("import", str(file), "--ledger", str(ledger_path))) == (1, 0, 0)
    (call,) = calls(ledger_path)
    assert (call.usage.input_tokens, call.usage.cached_tokens) == (1200, 1200)
    assert set(call.flags) == {"imported", "clamped"}
