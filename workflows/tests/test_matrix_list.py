"""The list of a tenant's workflows: its orders, groups and filters, and what a cell tells."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from core import clock
from tenants.scope import tenant_scope
from workflows import selectors
from workflows.matrix_list import ORDERS, Asked
from workflows.models import Environment, Execution, ExecutionFeed, WorkflowEnvMap

from .test_identity import approve, capture, raw
from .test_pages import at, estate, signed_in

__all__ = ["signed_in"]


def all_pages(cast: Any, asked: Asked) -> list[str]:
    """The names on all pages of the list, ten at a time."""
    seen: list[str] = []
    cursor = ""
    with tenant_scope(cast.tenant.pk):
        while True:
            found = selectors.matrix(asked, cursor=cursor, limit=10)
            seen += [row.workflow.name for row in found.rows]
            cursor = found.next_cursor
            if not cursor:
                return seen


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("group", ["", "tag"])
def test_paging_shows_each_workflow_once(cast: Any, order: str, group: str) -> None:
    estate(cast, 23)
    with tenant_scope(cast.tenant.pk):
        for n, place in enumerate(WorkflowEnvMap.objects.order_by("env_name", "environment__position")):
            place.env_tags = [[], ["Ünder"], ["a", "b"]][n % 3]
            place.content_changed_at = clock.now() - timedelta(days=n % 5) if n % 4 else None
            place.save()
    names = [f"Flow {n:04}" for n in range(23)]
    seen = all_pages(cast, Asked(order=order, group=group))
    assert sorted(seen) == names
    if not group and order.endswith("name"):
        assert seen == (names if order == "name" else names[::-1])


def test_the_list_is_ordered_by_trouble_and_by_change_and_grouped_by_tag(cast: Any) -> None:
    dev, prod = estate(cast, 0)
    for environment in (dev, prod):
        ids = [raw(f"{environment.slug}-{name}", name) for name in ("Calm", "Drifts", "Fails", "Fresh")]
        approve(environment, capture(environment, *ids))
    with tenant_scope(cast.tenant.pk):
        places = WorkflowEnvMap.objects
        places.update(content_changed_at=clock.now() - timedelta(days=9))
        places.filter(env_name="Drifts", environment=prod).update(env_content_hash="d" * 64, env_tags=["b"])
        places.filter(env_name="Fresh", environment=dev).update(content_changed_at=clock.now(), env_tags=["c", "a"])
        failed(prod, "prod-Fails")
    assert all_pages(cast, Asked(order="trouble")) == ["Fails", "Drifts", "Calm", "Fresh"]
    assert all_pages(cast, Asked(order="changed")) == ["Fresh", "Calm", "Drifts", "Fails"]
    assert all_pages(cast, Asked(state="failing")) == ["Fails"]
    assert all_pages(cast, Asked(tag="a")) == ["Fresh"]
    with tenant_scope(cast.tenant.pk):
        found = selectors.matrix(Asked(group="tag"))
    assert found.counts["failing"] == 1 and found.tags == {"a": 1, "b": 1, "c": 1}
    assert [(group.title, [row.workflow.name for row in group.rows]) for group in found.groups("tag")] == [
        ("a", ["Fresh"]), ("b", ["Drifts"]), ("Without a tag", ["Calm", "Fails"]),
    ]  # fmt: skip


def failed(environment: Environment, workflow_id: str) -> None:
    """An execution that failed an hour ago."""
    ended = clock.now() - timedelta(hours=1)
    Execution.objects.create(
        tenant_id=environment.tenant_id, environment=environment, env_execution_id="1", number=1, mode="trigger",
        env_workflow_id=workflow_id, status="error", started_at=ended, ended_at=ended, sorted_at=ended, seen_at=ended,
    )  # fmt: skip


def test_a_cursor_of_another_order_is_refused(cast: Any, signed_in: Any) -> None:
    estate(cast, 3)
    client = signed_in()
    by_name = client.get(at(cast, "tenant-home") + "?limit=1").context["matrix"].next_cursor
    assert client.get(at(cast, "tenant-home") + f"?limit=1&cursor={by_name}").status_code == 200
    assert client.get(at(cast, "tenant-home") + f"?sort=changed&cursor={by_name}").status_code == 422


def test_each_cell_tells_its_facts_and_leads_to_n8n(cast: Any, signed_in: Any) -> None:
    dev, _prod = estate(cast, 0)
    approve(dev, capture(dev, raw("a", "Orders")))
    with tenant_scope(cast.tenant.pk):
        Environment.objects.filter(pk=dev.pk).update(last_captured_at=clock.now() - timedelta(minutes=4))
        WorkflowEnvMap.objects.update(
            env_active=True, git_active=True, content_changed_at=clock.now() - timedelta(days=3)
        )
        failed(dev, "a")
        ExecutionFeed.objects.create(
            tenant_id=cast.tenant.pk, environment=dev, read_at=clock.now(), next_at=clock.now()
        )
    shown = " ".join(signed_in().get(at(cast, "tenant-home")).content.decode().split())
    text = re.sub(r"<[^>]+>", "", shown)
    assert "Changed 3 d ago" in text and "Checked 4 min ago" in text and "1 failed in 24 h" in text
    assert ">Published<" in shown and ">failing<" in shown
    assert f'href="{dev.editor_url("a")}"' in shown
    assert "tall" not in shown, "no box scrolls within the page"


def test_what_is_gone_and_accepted_leads_nowhere_in_n8n() -> None:
    environment = Environment(base_url="https://n8n.example.org")
    links = [
        selectors.Cell(environment, state, mapping=WorkflowEnvMap(env_workflow_id="7", status=status)).editor_url
        for state, status in (("accepted", "missing"), ("accepted", "linked"))
    ]
    assert not links[0] and links[1].endswith("/workflow/7")


@pytest.mark.parametrize("query", ["sort=trouble&group=tag", "sort=changed", "state=failing", "tag=a&q=Flow"])
def test_an_order_costs_the_same_whatever_the_size(cast: Any, signed_in: Any, query: str) -> None:
    dev, prod = estate(cast, 2)
    client = signed_in()

    def queries() -> int:
        with CaptureQueriesContext(connection) as caught:
            assert client.get(f"{at(cast, 'tenant-home')}?limit=100&{query}").status_code == 200
        return len(caught)

    queries()
    few = queries()
    for environment in (dev, prod):
        capture(environment, *[raw(f"{environment.slug}{n}", f"Flow {n:04}") for n in range(200)])
    assert queries() == few
