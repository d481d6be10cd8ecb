"""What holds while a session stands: it reads, within its tenant, in sight, at the cost of one query."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from django.db import ProgrammingError, connection
from django.http import HttpResponse, StreamingHttpResponse

from core import support
from impersonation import middleware, services
from impersonation.tests.conftest import Begin, at_browser, trail
from tenants.models import Membership, User
from tenants.scope import platform_scope, tenant_scope

pytestmark = pytest.mark.django_db


def test_the_database_refuses_writes_of_a_reading_session(cast: Any, begin: Begin) -> None:
    _, session = begin()
    force = support.InForce(session_id=session.pk, tenant_id=cast.tenant.pk)
    with support.in_force(force):
        with tenant_scope(cast.tenant.pk):
            assert Membership.objects.count() == 4
        with platform_scope():
            assert User.objects.count() > 4
        for scope in (tenant_scope(cast.tenant.pk), platform_scope()):
            with pytest.raises(ProgrammingError, match="permission denied"), scope:
                Membership.objects.update(role="owner")


def test_what_leaves_the_console_is_refused(cast: Any, begin: Begin) -> None:
    from operations.services import start

    _, session = begin()
    with support.in_force(support.InForce(session_id=session.pk, tenant_id=cast.tenant.pk)):
        with pytest.raises(support.SupportReadOnly):
            start(tenant_id=cast.tenant.pk, kind="x", title="x", params={}, requested_by=None)
        with pytest.raises(support.SupportReadOnly):
            support.refuse_reading_only("Git")


def test_a_post_is_refused_with_a_way_out_and_stands_in_the_trail(cast: Any, begin: Begin) -> None:
    client, session = begin()
    page = client.post("/t/acme/snapshots/new/", {"description": "x", "password": "hunter2"})
    assert page.status_code == 403
    assert "IMP_005" in page.content.decode() and 'id="support-banner"' in page.content.decode()
    (entry,) = trail(action="REFUSED")
    assert (entry.actor_user_id, entry.impersonated_user_id) == (cast.support.pk, cast.operator.pk)
    assert entry.session_id == session.pk
    assert entry.details["request_body"] == {"description": "x", "password": "masked"}


ELSEWHERE = (
    "/", "/platform/people/", "/platform/tenants/", "/t/umbrella/", "/account/email/", "/admin/", "/t/none/",
    "/nowhere/",
)  # fmt: skip
OWN_MATTERS = (
    ("get", "tokens/"), ("post", "members/"), ("post", "settings/"), ("get", "support/"), ("post", "support/policy/"),
    ("get", "environments/new/"),
)  # fmt: skip


@pytest.mark.parametrize("path", ELSEWHERE)
def test_other_places_are_shut_alike(begin: Begin, path: str) -> None:
    client, _ = begin(write=True)
    page = client.get(path)
    assert page.status_code == 403 and "IMP_010" in page.content.decode()
    assert 'id="support-banner"' in page.content.decode()


@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize(("method", "path"), OWN_MATTERS)
def test_the_customers_own_matters_are_never_supports(
    cast: Any, begin: Begin, method: str, path: str, write: bool
) -> None:
    client, _ = begin(target=cast.owner, write=write)
    page = getattr(client, method)(f"/t/acme/{path}")
    assert page.status_code == 403 and "IMP_006" in page.content.decode()


def test_reads_are_on_record(cast: Any, begin: Begin) -> None:
    client, session = begin()
    client.get("/t/acme/jobs/?state=open")
    (entry,) = trail(action="READ", session=session.pk)
    assert entry.details["path"] == "/t/acme/jobs/?state=open" and entry.details["response_status"] == 200
    assert entry.tenant_id == cast.tenant.pk and entry.actor_user_id == cast.support.pk


def test_the_cost_of_a_session_is_one_query(cast: Any, begin: Begin) -> None:
    from django.test.utils import CaptureQueriesContext

    client, _ = begin()
    plain = at_browser(cast.operator)
    for each in (client, plain):
        each.get("/t/acme/jobs/")
    with CaptureQueriesContext(connection) as without:
        plain.get("/t/acme/jobs/")
    with CaptureQueriesContext(connection) as within:
        client.get("/t/acme/jobs/")
    assert asked(within) <= asked(without) + 1, "\n".join(q["sql"][:150] for q in within.captured_queries)


def asked(captured: Any) -> int:
    """Statements, without those that only a scope inside a test's own transaction sends."""
    inner = ("SAVEPOINT", "RELEASE", "SELECT set_config('role', 'none'")
    return len([q for q in captured.captured_queries if not q["sql"].startswith(inner)])


def page_of(cast: Any, begin: Begin) -> tuple[Any, Any]:
    """A request in a session, with the session as it sees it."""
    client, _ = begin()
    request = client.get("/t/acme/jobs/").wsgi_request
    return request, request.support_session


@pytest.mark.parametrize("how", ["plain", "streamed", "packed", "drawn", "partial", "json"])
def test_the_banner_is_on_every_page_once(cast: Any, begin: Begin, how: str) -> None:
    request, live = page_of(cast, begin)
    page = b'<html><body class="x"><p>Hello</p></body></html>'
    response: Any = HttpResponse(page)
    if how == "streamed":
        response = StreamingHttpResponse([page[:10], page[10:]])
    elif how == "packed":
        response = HttpResponse(gzip.compress(page), headers={"Content-Encoding": "gzip"})
    elif how == "drawn":
        response = HttpResponse(page.replace(b"<p>", b'<div id="support-banner"></div><p>'))
    elif how == "partial":
        response = HttpResponse(b"<tr></tr>")
    elif how == "json":
        response = HttpResponse(b'{"body": "<body>"}', content_type="application/json")
    response = middleware.with_banner(request, live, response)
    content = b"".join(response.streaming_content) if how == "streamed" else response.content
    content = gzip.decompress(content) if how == "packed" else content
    assert content.count(b'id="support-banner"') == (0 if how in ("partial", "json") else 1)
    assert how in ("partial", "json") or b"Hello" in content


def test_a_streamed_page_stops_with_the_session(cast: Any, begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    _, live = page_of(cast, begin)
    monkeypatch.setattr(middleware, "CHECK_EVERY_SECONDS", -1)

    def chunks() -> Any:
        for number in range(10):
            if number == 3:
                services.end_session(session_id=live.id, by=cast.admin, reason="now")
            yield b"%d" % number

    response = middleware.guarded_stream(live, StreamingHttpResponse(chunks()))
    assert list(response.streaming_content) == [b"0", b"1", b"2"]
