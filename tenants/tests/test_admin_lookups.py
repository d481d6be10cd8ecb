"""Nobody reads a secret out of the admin letter by letter, by asking which rows begin with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client

pytestmark = pytest.mark.django_db
HOW = ("startswith", "contains", "regex", "gt", "gte", "lt", "range", "iexact", "endswith", "icontains")


def lookups(model: Any, depth: int = 2, before: str = "") -> Iterator[str]:
    """Every field of a model and of what it leads to, in every way in which a part of it can be asked for."""
    for field in model._meta.get_fields():
        name = f"{before}{field.name}"
        if field.is_relation and depth > 1 and field.related_model:
            yield from lookups(field.related_model, depth - 1, f"{name}__")
        elif not field.is_relation:
            yield from (f"{name}__{how}" for how in HOW)


@pytest.mark.parametrize("model", admin.site._registry, ids=lambda model: model._meta.label)
def test_no_part_of_a_value_can_be_asked_for(model: Any, rf: Any) -> None:
    shown = admin.site._registry[model]
    assert [lookup for lookup in lookups(model) if shown.lookup_allowed(lookup, "a", rf.get("/"))] == []


def test_the_admin_refuses_such_an_address(cast: Any) -> None:
    client = Client()
    client.force_login(cast.admin)
    page = "/admin/tenants/user/"
    assert client.get(page, {"role": "support"}).status_code == 200
    assert client.get(page, {"role__exact": "support"}).status_code == 200
    for asked in ("password__startswith", "sign_ins__session_key__startswith", "api_tokens__token_hash__gt"):
        assert client.get(page, {asked: "a"}).status_code == 400


def test_a_sign_ins_row_opens_no_account(cast: Any) -> None:
    """What the table, a dump or the operator's role shows of a sign-in is a digest."""
    from tenants.models import UserSession

    client = Client()
    client.force_login(cast.viewer)
    stored = UserSession.objects.get(user=cast.viewer).session_key
    assert stored != client.session.session_key and client.get("/t/acme/members/").status_code == 200
    thief = Client()
    thief.cookies["sessionid"] = stored
    assert thief.get("/t/acme/members/").status_code == 302
