"""Django's admin, page by page of every table: platform admins look, nobody writes, nobody else comes in.

Generated from what is registered: a table of a tenant without a page here, or a page that would write, fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib import admin
from django.db import models
from django.test import Client
from django.urls import reverse

from audit.models import AuditLog
from conftest import Cast
from core.admin import ConsoleAdmin
from tenants.models import Tenant
from tenants.scope import platform_scope

from .rows import one_of_each, tenant_models

pytestmark = pytest.mark.django_db

#: Tables of tenants that have no page in the admin, with the page that shows them instead.
SHOWN_ELSEWHERE = {
    "support_policies": "the customer's own page “Support access”",
    "workflow_contents": "the snapshots that hold them",
    "incident_comments": "the incident that they are about",
    "review_comments": "the promotion that they are about",
    "review_marks": "the promotion that they are about",
    "support_requests": "the pages “Support” and “Support access”",
}
REGISTERED = sorted(admin.site._registry, key=lambda model: model._meta.label)
PAGES = ("changelist", "add", "change", "delete", "history")
ASKED = (("changelist", "GET"), ("change", "GET"), ("add", "POST"), ("change", "POST"), ("delete", "POST"))
#: One of each kind of person; '' is nobody at all.
OTHERS = ("owner", "viewer", "stranger", "support", "officer", "")
#: What a form of Django's admin, or its action on several rows, would send.
CHANGES = {"action": "delete_selected", "_selected_action": "1", "post": "yes", "name": "x"}
#: Neither a refusal in the middle of things nor a row: the sign-in, or nothing at all.
KEPT_OUT = (302, 403, 404)


def test_every_table_of_a_tenant_is_in_the_admin_or_named() -> None:
    registered = {model._meta.db_table for model in REGISTERED}
    tables = {model._meta.db_table for model in tenant_models()}
    assert tables - registered == set(SHOWN_ELSEWHERE)


def test_every_page_is_of_the_kind_that_only_shows() -> None:
    wrong = [model._meta.label for model in REGISTERED if not isinstance(admin.site._registry[model], ConsoleAdmin)]
    assert not wrong


@pytest.fixture
def rows(cast: Cast) -> dict[type[models.Model], models.Model]:
    """A row of every table, of two tenants; those of the second are returned."""
    with platform_scope():
        one_of_each(cast.tenant)
        return one_of_each(cast.other_tenant)


def address(model: type[models.Model], page: str, pk: Any) -> str:
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}"
    return reverse(name, args=[] if page in ("changelist", "add") else [pk])


def addresses(rows: dict[Any, Any], model: type[models.Model]) -> Iterator[tuple[str, str, str]]:
    """(page, method, address) of everything that can be asked about a row of the model."""
    with platform_scope():
        row = rows.get(model) or model._default_manager.first()
    pk = row.pk if row is not None else 1
    for page in PAGES:
        for method in ("GET", "POST"):
            yield page, method, address(model, page, pk)


def fingerprint() -> str:
    """Everything that stands in the tables that people look at, the trail and notes of visits left out."""
    left_out = ("audit_%", "django_%", "user_sessions", "auth_%")
    with platform_scope():
        tables = sorted(m._meta.db_table for m in REGISTERED if m._meta.managed)
        found = []
        for table in tables:
            if any(table.startswith(name.rstrip("%")) for name in left_out):
                continue
            model = next(m for m in REGISTERED if m._meta.db_table == table)
            found.append((table, sorted(map(str, model._default_manager.values_list()))))
    return str(found)


def sign_in(cast: Cast, who: str) -> Client:
    client = Client()
    if who:
        client.force_login(getattr(cast, who), backend=settings.AUTHENTICATION_BACKENDS[0])
    return client


def test_a_platform_admin_looks_and_writes_nothing(cast: Cast, rows: Any) -> None:
    client, before = sign_in(cast, "admin"), fingerprint()
    for model in REGISTERED:
        with platform_scope():
            there = model in rows or model._default_manager.exists()
        for page, method, url in addresses(rows, model):
            answer = client.post(url, CHANGES) if method == "POST" else client.get(url)
            told = (model._meta.label, page, method, answer.status_code)
            if page == "changelist":
                # There is no action to take, so that a POST is another look.
                assert answer.status_code in (200, 302), told
            elif page == "history" or (page == "change" and method == "GET"):
                assert answer.status_code == (200 if there else 302), told
            else:
                assert answer.status_code == 403 or not there, told
    assert fingerprint() == before


@pytest.mark.parametrize("who", OTHERS)
def test_nobody_else_comes_in(cast: Cast, rows: Any, who: str) -> None:
    client, before = sign_in(cast, who), fingerprint()
    for model in REGISTERED:
        told = set()
        for page, method, url in addresses(rows, model):
            if (page, method) not in ASKED:
                continue
            answer = client.generic(method, url)
            assert answer.status_code in KEPT_OUT, (url, method, answer.status_code)
            told.add(answer.status_code)
        missing = client.get(address(model, "change", "00000000-0000-4000-8000-000000000000"))
        assert {missing.status_code} == told, f"{model._meta.label}: the answer tells what is there"
    assert fingerprint() == before


def test_a_secret_is_on_no_page(cast: Cast, rows: Any) -> None:
    with platform_scope():
        Tenant.objects.filter(pk=cast.tenant.pk).update(git_remote_secret="gAAAA-not-for-eyes")
    client = sign_in(cast, "admin")
    for model in REGISTERED:
        for page, method, url in addresses(rows, model):
            if page == "change" and method == "GET":
                text = client.get(url).content.decode()
                assert "gAAAA" not in text and "pbkdf2_" not in text and "md5$" not in text, model._meta.label


def test_what_the_admin_wrote_would_be_in_the_trail(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """It writes nothing by design; a page that came to write would still leave the person's name."""
    page = admin.site._registry[Tenant]
    monkeypatch.setattr(page, "has_change_permission", lambda *_args, **_kwargs: True)
    monkeypatch.setattr(page, "get_fields", lambda *_args, **_kwargs: ("name",))
    client = sign_in(cast, "admin")
    url = address(Tenant, "change", cast.tenant.pk)
    assert client.post(url, {"name": "Written here"}).status_code == 302
    with platform_scope():
        assert Tenant.objects.get(pk=cast.tenant.pk).name == "Written here"
        entry = AuditLog.objects.filter(resource_type="tenants", resource_id=cast.tenant.pk).latest("pk")
    assert (entry.actor_user_id, entry.action, entry.source) == (cast.admin.pk, "UPDATE", "web")
    assert entry.details["new_value"]["name"] == "Written here"


def test_it_has_no_door_of_its_own(cast: Cast) -> None:
    """Django's own sign-in page would ask for no second factor and let people guess for ever."""
    client = Client()
    asked = client.get("/admin/tenants/tenant/", follow=True)
    assert asked.redirect_chain[-1][0] == "/account/login/?next=/admin/tenants/tenant/"
    for path in ("/admin/login/", "/admin/login/?next=/admin/"):
        given = {"username": cast.admin.email, "password": "correct horse battery", "next": "/admin/"}
        assert client.post(path, given)["Location"] == "/account/login/?next=/admin/"
    assert client.get("/admin/").status_code == 302
    inside = sign_in(cast, "admin")
    assert inside.get("/admin/login/")["Location"] == "/admin/"
    assert inside.get("/admin/password_change/")["Location"] == "/account/password/change/"
