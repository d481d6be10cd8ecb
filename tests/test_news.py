"""Whether open lists learn that something has changed since they were drawn."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from core import clock
from operations.models import Operation
from tenants.scope import tenant_scope
from workflows.models import Environment

pytestmark = pytest.mark.django_db


def latest(client: Client, path: str) -> float:
    answer = client.get(path)
    assert answer.status_code == 200 and "no-store" in answer["Cache-Control"]
    return float(answer.json()["at"])


def test_a_change_of_a_row_or_of_a_job_is_news_for_its_tenant(cast: Any, client: Client) -> None:
    client.force_login(cast.viewer)
    before = latest(client, "/t/acme/news/")
    with tenant_scope(cast.other_tenant.pk):
        Environment.objects.create(tenant=cast.other_tenant, name="Theirs", slug="theirs", kind="dev")
    assert latest(client, "/t/acme/news/") == before, "what others do is no news"
    with tenant_scope(cast.tenant.pk):
        Environment.objects.create(tenant=cast.tenant, name="Ours", slug="ours", kind="dev")
    row = latest(client, "/t/acme/news/")
    assert row > before
    with tenant_scope(cast.tenant.pk):
        job = Operation.objects.create(tenant=cast.tenant, kind="drift.check", title="Check", request_hash="-")
        Operation.objects.filter(pk=job.pk).update(updated_at=clock.now())
    assert latest(client, "/t/acme/news/") > row
    assert client.get("/t/umbrella/news/").status_code == 404
    assert latest(client, "/news/") >= row
    client.logout()
    assert client.get("/news/").status_code == client.get("/t/acme/news/").status_code == 302


@pytest.mark.parametrize("path", ["/t/acme/", "/t/acme/promotions/", "/t/acme/drift/", "/t/acme/jobs/", "/"])
def test_lists_say_where_to_ask_and_when_they_were_drawn(cast: Any, client: Client, path: str) -> None:
    client.force_login(cast.admin if path == "/" else cast.owner)
    page = client.get(path).content.decode()
    found = re.search(r'<main id="content"[^>]* data-news="([^"]+)" data-drawn="([\d.]+)"', page)
    assert found and found[1] == ("/news/" if path == "/" else "/t/acme/news/")
    assert abs(clock.now().timestamp() - float(found[2])) < 60
