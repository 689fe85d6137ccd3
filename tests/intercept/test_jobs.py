"""Work that is billed after its first answer, whatever its kind: held once, ended once."""

from __future__ import annotations

import pytest

from farthing import Budget, LedgerError, Meter, Unbounded, UnpricedModel
from farthing.testing import Reply
from intercept.jobs_kit import KINDS, listed, told
from intercept.kit import Kit, rows_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning"),  # of the Assistants API
    pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning"),
]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def job(request, kit):
    if not request.param.has(kit.plain()):
        pytest.skip("this version of openai has no such jobs")
    return request.param


def client_of(kit, **settings):
    return kit.client(provider="openai", **settings)


def opened(kit):
    return kit.meter.engine.ledger.facts()["open_calls"]


def test_a_job_is_one_open_call_until_it_is_known_to_have_ended(kit, job):
    client = client_of(kit)
    kit.provider.script(told(job.running), told(job.running), told(job.done))
    kit.run(job.start(client))
    kit.run(job.ask(client))
    assert opened(kit) == 1
    assert kit.meter.engine.ledger.calls() == []
    last = kit.run(job.ask(client))
    row = kit.row()
    assert (row.outcome, row.model, row.cost_nano, row.response_id) == (
        "complete", job.model, job.cost, job.running["id"],
    )  # fmt: skip
    assert kit.meter.receipt(last).id == row.id


def test_asking_again_books_nothing(kit, job):
    client = client_of(kit)
    kit.provider.script(told(job.running), lambda _: told(job.done))
    kit.run(job.start(client))
    for _ in range(5):
        kit.run(job.ask(client))
    assert kit.row().cost_nano == job.cost


def test_a_list_tells_how_jobs_ended(kit, job):
    client = client_of(kit)
    others = {**job.done, "id": "somebody_elses"}
    kit.provider.script(told(job.running), listed(job.running), lambda _: listed(others, job.done))
    kit.run(job.start(client))
    for still_open in (1, 0, 0):
        kit.run(job.all(client))
        assert opened(kit) == still_open
    assert kit.row().cost_nano == job.cost


def test_a_raw_answer_starts_and_ends_a_job_too(kit, job):
    client = client_of(kit)
    kit.provider.script(told(job.running), told(job.done))
    raw = client.with_raw_response if hasattr(client, "with_raw_response") else client
    kit.run(job.start(raw))
    kit.run(job.ask(raw))
    assert kit.row().cost_nano == job.cost


def test_answers_as_plain_json_start_and_end_a_job_too(kit):
    client = client_of(kit)
    batch = KINDS[0]
    kit.provider.script(told(batch.running), told(batch.done))
    body = {"input_file_id": "file-1", "endpoint": "/v1/embeddings", "completion_window": "24h"}
    kit.run(client.post("/batches", body=body, cast_to=object))
    kit.run(client.get("/batches/batch_1", cast_to=object))
    assert kit.row().cost_nano == batch.cost


def test_a_start_that_could_not_be_kept_is_kept_by_the_next_answer(kit, caplog):
    client = client_of(kit)
    batch = KINDS[0]
    kit.provider.script(told(batch.running), lambda _: told(batch.done))
    ledger = kit.meter.engine.ledger

    def full(*_):
        raise LedgerError("the disk is full")

    ledger.park = full
    assert kit.run(batch.start(client)).id == "batch_1"
    del ledger.park
    assert "the disk is full" in caplog.text
    kit.run(batch.ask(client))
    assert kit.row().cost_nano == batch.cost


def test_a_job_that_nobody_started_here_costs_nothing(kit, job):
    client = client_of(kit)
    kit.provider.script(lambda _: told(job.done))
    kit.run(job.ask(client))
    assert kit.rows() == []


def test_the_same_id_at_another_address_is_another_job(kit, job):
    client = client_of(kit)
    kit.provider.script(told(job.running), lambda _: told(job.done))
    kit.run(job.start(client))
    elsewhere = kit.client(kit.provider.base_url + "/elsewhere/v1", provider="openai")
    kit.run(job.ask(elsewhere))
    assert opened(kit) == 1
    kit.run(job.ask(client))
    assert kit.row().cost_nano == job.cost


def test_a_start_that_is_refused_by_the_provider_costs_nothing(kit, job):
    client = client_of(kit)
    kit.provider.script(Reply(status=400))
    with pytest.raises(Exception, match="400"):
        kit.run(job.start(client))
    row = kit.row()
    assert (row.outcome, row.cost_nano) == ("error", 0)


def test_a_job_that_has_ended_at_once_is_booked_at_once(kit, job):
    client = client_of(kit)
    kit.provider.script(told(job.done))
    first = kit.run(job.start(client))
    assert kit.row().cost_nano == job.cost
    assert kit.meter.receipt(first).outcome == "complete"


def test_an_answer_without_an_id_is_unknown(kit, job):
    client = client_of(kit)
    kit.provider.script(told({**job.running, "id": None}))
    kit.run(job.start(client))
    row = kit.row()
    assert (row.outcome, row.cost_nano, row.usage_source) == ("unknown", None, "unknown")


def test_nothing_of_another_request_looks_into_the_ledger(kit, job):
    client = client_of(kit)
    kit.provider.script(told(job.running), lambda request: told(job.running))
    kit.run(job.start(client))
    asked = []
    ledger = kit.meter.engine.ledger
    parked = ledger.parked
    ledger.parked = lambda refs: asked.append(refs) or parked(refs)
    kit.run(client.get("/models", cast_to=object))
    kit.run(client.get("/files/file-1", cast_to=object))
    kit.run(job.ask(client))
    assert asked == []
    kit.provider.clear()
    kit.provider.script(lambda request: told(job.done))
    kit.run(job.ask(client))
    assert len(asked) == 1
    del ledger.parked


def test_an_answer_is_returned_though_the_ledger_cannot_be_asked(kit, job, caplog):
    client = client_of(kit)
    kit.provider.script(told(job.running), lambda _: told(job.done))
    kit.run(job.start(client))
    ledger = kit.meter.engine.ledger

    def broken(_):
        raise RuntimeError("secret text")

    ledger.parked = broken
    assert kit.run(job.ask(client)).id == job.done["id"]
    assert "secret text" not in caplog.text
    assert "booking a job" in caplog.text
    del ledger.parked
    kit.run(job.ask(client))
    assert kit.row().cost_nano == job.cost


def test_a_hard_budget_refuses_what_its_request_does_not_bound(kit, job):
    client = client_of(kit, budget="$5/day")
    with pytest.raises((Unbounded, UnpricedModel)) as refused:
        kit.run(job.start(client))
    assert isinstance(refused.value, UnpricedModel) == (job.name == "video")
    assert kit.provider.requests == []
    assert kit.rows() == []
    (counted,) = kit.meter.engine.ledger.refusals()
    assert counted["reason"] == ("unpriced" if job.name == "video" else "unbounded")


def test_where_that_is_allowed_the_row_says_so(kit, job, tmp_path):
    meter = Meter(tmp_path / "allowing.db", durability="fast", on_unbounded="allow", on_unpriced="allow")
    with meter:
        inner = Kit(kit.pick("sync", "async"), kit.provider, meter)
        client = client_of(inner, budget=Budget("house", "5", "day"))
        kit.provider.script(told(job.running), told(job.done))
        inner.run(job.start(client))
        inner.run(job.ask(client))
        (row,) = rows_of(meter)
        flag = "unpriced_allowed" if job.name == "video" else "unbounded_allowed"
        assert flag in row.flags
        assert (row.held_nano, row.cost_nano) == (0, job.cost)
        inner.finish()
