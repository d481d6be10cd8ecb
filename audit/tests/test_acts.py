"""The trail by acts: one line for what a request and its jobs did, in words, whatever pages cut through it."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from audit import acts
from audit.act_lines import ActLine, act_lines
from audit.acts import list_acts
from audit.selectors import TrailFilter
from audit.services import Event, record_event, record_events
from core import context
from operations.models import Operation
from tenants.models import TenantRole
from tenants.scope import platform_scope, tenant_scope
from tenants.services import set_membership

from .test_working import signed_in

pytestmark = pytest.mark.django_db
HERE, EVERYWHERE = "/t/acme/trail/", "/platform/trail/"
NOTED = TrailFilter(action="NOTED")


def did(tenant: Any, request: str, *, names: tuple[str, ...] = ("",), job: uuid.UUID | None = None, **who: Any) -> None:
    """What a request left in the trail."""
    with context.acting(request_id=request, operation_id=job, **who), tenant_scope(tenant.pk):
        record_events([Event("NOTED", "things", tenant_id=tenant.pk, name=name) for name in names])


def pages(tenant: Any, wanted: TrailFilter = NOTED, *, limit: int = 2) -> list[list[str]]:
    """The keys of the acts, page by page."""
    found, cursor = [], ""
    with tenant_scope(tenant.pk):
        while True:
            page = list_acts(wanted, cursor=cursor, limit=limit)
            found.append([act.key.value for act in page.rows])
            cursor = page.next_cursor
            if not cursor:
                return found


def test_a_request_and_its_job_are_one_act(cast: Any) -> None:
    did(cast.tenant, "request-one")
    did(cast.tenant, "request-one", job=uuid.uuid4(), names=("a", "b"))
    did(cast.tenant, "request-two")
    scheduled = uuid.uuid4()
    did(cast.tenant, "", job=scheduled, names=("a", "b"))
    did(cast.tenant, "", names=("a", "b"))
    (found,) = pages(cast.tenant, limit=50)
    assert found[1:] == [str(scheduled), "request-two", "request-one"]
    assert ":" in found[0], "what neither a request nor a job holds together, its transaction does"


def test_an_act_stands_on_one_page_however_pages_cut_through_it(cast: Any) -> None:
    for number in range(4):
        did(cast.tenant, f"request-{number}")
        did(cast.tenant, "request-long", names=("a", "b", "c"))
    assert pages(cast.tenant) == [["request-long", "request-3"], ["request-2", "request-1"], ["request-0"]]


@pytest.mark.django_db(transaction=True)
def test_transactions_do_not_come_again_on_the_next_page(cast: Any) -> None:
    for _ in range(5):
        did(cast.tenant, "", names=("a", "b"))
    found = pages(cast.tenant)
    assert [len(page) for page in found] == [2, 2, 1]
    assert len({key for page in found for key in page}) == 5


def test_the_search_goes_on_past_an_act_of_many_entries(cast: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acts, "LOOK", 5)
    did(cast.tenant, "request-old")
    did(cast.tenant, "request-huge", names=tuple("abcdefghijklmnopqrstuvwxyz"))
    did(cast.tenant, "request-new")
    assert pages(cast.tenant, limit=50) == [["request-new", "request-huge", "request-old"]]


def test_what_lies_beyond_the_entries_looked_through_is_on_the_next_page(
    cast: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acts, "LOOK", 2)
    monkeypatch.setattr(acts, "LOOKS", 2)
    for request in ("old", "a", "b", "c", "d", "d", "c", "b", "a"):
        did(cast.tenant, request)
    assert pages(cast.tenant, limit=50) == [["a", "b", "c", "d"], [], ["old"]]
    owner = signed_in(cast.owner)
    first = owner.get(HERE, {"action": "NOTED"}).context["page"]
    second = owner.get(HERE, {"action": "NOTED", "cursor": first.next_cursor})
    text = second.content.decode()
    assert "Nothing found so far" in text and "No entries match" not in text
    assert 'rel="next"' in text and second.context["page"].next_cursor


def test_a_filter_finds_the_act_and_shows_all_of_it(cast: Any) -> None:
    did(cast.tenant, "request-mixed", names=("a",))
    with context.acting(request_id="request-mixed"), tenant_scope(cast.tenant.pk):
        record_event(action="OTHER", resource_type="things", tenant_id=cast.tenant.pk, name="b")
    with tenant_scope(cast.tenant.pk):
        (act,) = list_acts(TrailFilter(action="OTHER")).rows
    assert [entry.action for entry in act.entries] == ["NOTED", "OTHER"]


def lines(tenant: Any, wanted: TrailFilter) -> list[ActLine]:
    with tenant_scope(tenant.pk):
        return act_lines(list_acts(wanted).rows, slug=tenant.slug)


def test_an_act_is_told_by_what_matters_most_of_it(cast: Any) -> None:
    job = Operation(tenant=cast.tenant, kind="snapshots.capture", title="Capture Production", status="COMPLETED")
    job.result = {"workflow_count": 24}
    with context.acting(request_id="request-job", actor_id=cast.owner.pk, source="web"), tenant_scope(cast.tenant.pk):
        job.save(force_insert=True)
        record_event(action="NOTED", resource_type="things", tenant_id=cast.tenant.pk)
    (line,) = lines(cast.tenant, TrailFilter(request="request-job"))
    assert (line.sentence, line.state) == ("Captured Production: 24 workflows", "completed")
    assert line.count == 2 and [entry.words for entry in line.entries] == ["Created job", "NOTED".capitalize()]


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_takes_up_a_job_is_not_told_as_the_work(cast: Any) -> None:
    with context.acting(request_id="request-asked", source="web"), tenant_scope(cast.tenant.pk):
        job = Operation.objects.create(tenant=cast.tenant, kind="snapshots.capture", title="Capture Staging")
    with context.acting(source="system"), tenant_scope(cast.tenant.pk):
        Operation.objects.filter(pk=job.pk).update(status="RUNNING")
    with context.acting(request_id="request-asked", operation_id=job.pk, source="task"), tenant_scope(cast.tenant.pk):
        Operation.objects.filter(pk=job.pk).update(status="COMPLETED", result={"workflow_count": 2})
    told = [line.sentence for line in lines(cast.tenant, TrailFilter(resource_id=str(job.pk)))]
    assert told == ["Captured Staging: 2 workflows", "Capture Staging: taken up by a worker"]


def test_rows_of_a_kind_are_counted_in_the_sentence(cast: Any) -> None:
    with context.acting(request_id="request-many"), tenant_scope(cast.tenant.pk):
        record_events(
            [
                Event("UPDATE", "canonical_workflows", uuid.uuid4(), cast.tenant.pk, f"Order {n}", {"new_value": {}})
                for n in range(130)
            ]
        )
    (line,) = lines(cast.tenant, TrailFilter(request="request-many"))
    assert line.sentence == "Changed workflow “Order 129” and at least 129 more" and line.has_more
    assert "request=request-many" in line.all_query and "view=entries" in line.all_query
    assert b"All entries (more than 120)" in signed_in(cast.owner).get(HERE, {"request": "request-many"}).content


@pytest.mark.parametrize("request_id", ["request-long", ""])
def test_how_a_long_act_ended_speaks_for_it(cast: Any, request_id: str) -> None:
    release = uuid.uuid4()

    def became(status: str) -> None:
        event = Event("UPDATE", "promotions", release, cast.tenant.pk, "Release", {"new_value": {"status": status}})
        record_events([event])

    with context.acting(request_id=request_id), tenant_scope(cast.tenant.pk):
        became("RUNNING")
        record_events([Event("NOTED", "things", tenant_id=cast.tenant.pk) for _ in range(150)])
        became("COMPLETED")
    wanted = TrailFilter(resource_id=str(release))
    (line,) = lines(cast.tenant, wanted)
    assert (line.sentence, line.state) == ("Promoted “Release”", "completed")
    assert line.has_more and line.count == 120
    with tenant_scope(cast.tenant.pk):
        (act,) = list_acts(wanted).rows
        assert act.entries[0].pk == min(entry.pk for entry in act.known), "from which all are searched"
        assert [entry.pk for entry in act.known] == sorted({entry.pk for entry in act.entries + act.latest})


def test_a_plan_that_nobody_had_to_approve_is_told_as_locked(cast: Any) -> None:
    became = {"new_value": {"status": "APPROVED"}}
    with context.acting(request_id="request-lock"), tenant_scope(cast.tenant.pk):
        record_events([Event("UPDATE", "promotions", uuid.uuid4(), cast.tenant.pk, "Release", became)])
    (line,) = lines(cast.tenant, TrailFilter(request="request-lock"))
    assert line.sentence == "Locked the plan of “Release”"


def test_a_role_is_told_as_it_was_given(cast: Any) -> None:
    for role in (TenantRole.APPROVER, TenantRole.OPERATOR):
        with context.acting(request_id=f"request-{role}", actor_id=cast.owner.pk):
            set_membership(tenant=cast.tenant, user=cast.viewer, role=role, by=cast.owner)
    for role in (TenantRole.APPROVER, TenantRole.OPERATOR):
        (line,) = lines(cast.tenant, TrailFilter(request=f"request-{role}", resource_type="memberships"))
        assert line.sentence == f"Changed the role of {cast.viewer}: {role.label}"


def test_a_page_of_acts_costs_the_same_however_many_there_are(cast: Any) -> None:
    def cost() -> int:
        with (
            tenant_scope(cast.tenant.pk),
            CaptureQueriesContext(
                connection,
            ) as asked,
        ):
            act_lines(list_acts(TrailFilter()).rows, slug="acme")
        return len(asked)

    did(cast.tenant, "request-first", actor_id=cast.owner.pk)
    few = cost()
    for number in range(30):
        did(cast.tenant, f"request-{number}", actor_id=cast.owner.pk, names=("a", "b"))
    assert cost() <= few + 1


def test_the_page_lists_acts_and_opens_into_entries(cast: Any) -> None:
    did(cast.tenant, "request-shown", names=("first thing", "second thing"), actor_id=cast.owner.pk, source="web")
    owner = signed_in(cast.owner)
    page = owner.get(HERE, {"request": "request-shown"})
    assert len(page.context["acts"]) == 1
    text = page.content.decode()
    assert "<details>" in text and "first thing" in text and "second thing" in text
    assert len(owner.get(HERE, {"request": "request-shown", "view": "entries"}).context["rows"]) == 2
    officer = signed_in(cast.officer)
    assert len(officer.get(EVERYWHERE, {"request": "request-shown"}).context["acts"]) == 1
    assert owner.get(HERE, {"session": "no-id"}).status_code == 422


def test_the_tabs_narrow_to_support_and_to_writes_to_n8n(cast: Any) -> None:
    did(cast.tenant, "request-support", session_id=uuid.uuid4())
    with context.acting(request_id="request-n8n"), tenant_scope(cast.tenant.pk):
        for system in ("n8n", "git"):
            record_event(
                action="EFFECT_DONE", resource_type="environments", tenant_id=cast.tenant.pk,
                name="Order intake", details={"system": system},
            )  # fmt: skip
    with tenant_scope(cast.tenant.pk):
        assert [act.key.value for act in list_acts(TrailFilter(by="support")).rows] == ["request-support"]
        assert [act.key.value for act in list_acts(TrailFilter(by="n8n")).rows] == ["request-n8n"]
    assert b"Written to n8n" in signed_in(cast.owner).get(HERE, {"by": "n8n"}).content


def test_another_tenants_part_of_a_request_is_not_shown(cast: Any) -> None:
    did(cast.tenant, "request-shared", names=("ours",))
    did(cast.other_tenant, "request-shared", names=("theirs",))
    (line,) = lines(cast.tenant, TrailFilter(request="request-shared"))
    assert [entry.name for entry in line.entries] == ["ours"]
    with platform_scope():
        (whole,) = list_acts(TrailFilter(request="request-shared")).rows
    assert {entry.object_repr for entry in whole.entries} == {"ours", "theirs"}
