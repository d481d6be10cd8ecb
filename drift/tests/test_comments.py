"""Talking about a found change: by node, resolved or not, and still there when the incident is long settled."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import Client

from audit.models import AuditLog
from core import clock
from core.errors import Forbidden, Invalid, NotFound
from drift import comments, services
from drift.models import DriftIncident, IncidentComment
from impersonation import services as support
from impersonation.models import ImpersonationSession, Mode
from outbox.models import OutboxEvent
from tenants.scope import platform_scope, tenant_scope
from tenants.tokens import create_token
from tests.reading import flat
from workflows.discussing import comments as discussing

from .conftest import Site
from .test_pages import bearer, signed_in, url

pytestmark = pytest.mark.django_db(transaction=True)
PARTIAL = {"HX-Request": "true"}


@pytest.fixture
def incident(site: Site) -> DriftIncident:
    site.edit("Orders", text="goodbye")
    site.check()
    return site.incident()


def said(
    site: Site, incident: DriftIncident, by: Any, text: str = "Who asked for this?", **more: Any
) -> IncidentComment:
    return comments.add(tenant_id=site.tenant.pk, incident_id=incident.pk, text=text, by=by, **more)


def kept(site: Site) -> IncidentComment:
    with tenant_scope(site.tenant.pk):
        return IncidentComment.objects.get()


def test_a_comment_is_kept_told_and_on_the_trail(site: Site, incident: DriftIncident, live_cast: Any) -> None:
    comment = said(site, incident, live_cast.viewer, node="Step")
    assert comment.author_id == live_cast.viewer.pk
    assert (comment.before_hash, comment.after_hash) == comments.compared(incident) and comment.after_hash
    with tenant_scope(site.tenant.pk):
        event = OutboxEvent.objects.get(name="drift.commented")
        assert event.payload["comment_id"] == str(comment.pk) and event.payload["node"] == "Step"
        assert AuditLog.objects.filter(resource_type="incident_comments", resource_id=str(comment.pk)).exists()
    for text in ("", " \n", "x" * 4001):
        with pytest.raises(Invalid):
            said(site, incident, live_cast.viewer, text)


def test_words_are_their_authors(site: Site, incident: DriftIncident, live_cast: Any) -> None:
    comment, about = said(site, incident, live_cast.viewer), comments.subject_of(incident)
    with pytest.raises(Forbidden):
        discussing.edit(about, comment_id=comment.pk, text="x", by=live_cast.operator)
    with pytest.raises(Forbidden):
        discussing.delete(about, comment_id=comment.pk, by=live_cast.operator)
    changed = discussing.edit(about, comment_id=comment.pk, text="Better said", by=live_cast.viewer)
    assert changed.text == "Better said" and changed.edited_at
    discussing.delete(about, comment_id=comment.pk, by=live_cast.viewer)
    with pytest.raises(NotFound):
        discussing.set_resolved(about, comment_id=comment.pk, resolved=True, by=live_cast.viewer)


def test_discussing_on_the_page(site: Site, incident: DriftIncident, live_cast: Any) -> None:
    viewer, operator = signed_in(live_cast.viewer), signed_in(live_cast.operator)
    page, there = url(site, f"{incident.pk}/"), url(site, f"{incident.pk}/comments/")
    offered = viewer.get(page).content.decode().split('id="comments"')[1]
    assert "<h3>Step</h3>" in offered, "what changed can be commented on in words as well"
    sent = viewer.post(there, {"action": "comment", "node": "Step", "text": "Is <b>this</b> meant?"})
    assert sent["Location"] == f"{page}#comments"
    shown = operator.get(page).content.decode()
    assert "Is &lt;b&gt;this&lt;/b&gt; meant?" in shown and "1 unresolved comment" in flat(shown)
    dialog = flat(shown.split('id="reconcile"')[1].split("</dialog>")[0])
    assert "1 comment on it is not resolved." in dialog
    assert "1 unresolved comment" in flat(operator.get(f"{page}?view=history").content.decode())
    assert 'value="edit"' not in shown, "words are their author's"
    lines = operator.get(f"{page}?view=text").content.decode()
    assert lines.count("this&lt;/b&gt; meant?") == 1
    assert lines.index("Step") < lines.index("this&lt;/b&gt; meant?") < lines.index('id="comments"'), "at its node"
    comment = kept(site)
    resolving = {"action": "resolve", "comment": str(comment.pk), "node": "Step"}
    told = operator.post(there, resolving, headers=PARTIAL).content.decode()
    assert "resolved by" in told and "<html" not in told
    assert "unresolved comment" not in operator.get(page).content.decode()
    editing = {"action": "edit", "comment": str(comment.pk), "text": "mine"}
    assert operator.post(there, editing).status_code == 403
    refused = viewer.post(there, {"action": "comment", "node": "Step", "text": " "}, headers=PARTIAL)
    assert refused.status_code == 422 and "A comment says something." in refused.content.decode()
    assert viewer.post(there, {"action": "sing"}).status_code == 422
    stranger = signed_in(live_cast.stranger)
    assert stranger.post(there, {"action": "comment", "text": "hello"}).status_code == 404
    assert kept(site).text == "Is <b>this</b> meant?"


def test_what_was_said_stays_when_the_incident_is_long_settled(
    site: Site, incident: DriftIncident, live_cast: Any
) -> None:
    said(site, incident, live_cast.viewer, "Asked for by nobody.", node="Step")
    said(site, incident, live_cast.viewer, "The whole of it.")
    client = signed_in(live_cast.operator)
    client.post(url(site, f"{incident.pk}/"), {"action": "stabilize", "comment": "back", "typed": "Production"})
    site.run_all()
    services.close(
        tenant_id=site.tenant.pk,
        incident_id=incident.pk,
        comment="",
        resolution_type="stabilized",
        by=live_cast.operator,
    )
    with tenant_scope(site.tenant.pk):
        then = clock.now() - timedelta(days=3 * 365)
        IncidentComment.objects.update(created_at=then)
        DriftIncident.objects.filter(pk=incident.pk).update(created_at=then, resolved_at=then)
    site.edit("Orders", text="something else by now")
    site.check()
    for view in ("words", "text", "graph", "raw"):
        shown = client.get(url(site, f"{incident.pk}/?view={view}")).content.decode()
        assert shown.count("Asked for by nobody.") == shown.count("The whole of it.") == 1, view
        assert "of an earlier version" not in shown, "it is of what the incident still shows"
    last = said(site, incident, live_cast.viewer, "Seen again.")
    settled = discussing.set_resolved(
        comments.subject_of(incident), comment_id=last.pk, resolved=True, by=live_cast.operator
    )
    assert settled.resolved_by_id == live_cast.operator.pk


def test_a_comment_says_that_the_drift_moved_on(site: Site, incident: DriftIncident, live_cast: Any) -> None:
    said(site, incident, live_cast.viewer, node="Step")
    site.edit("Orders", text="edited again")
    site.check()
    shown = signed_in(live_cast.viewer).get(url(site, f"{incident.pk}/")).content.decode()
    assert "of an earlier version" in shown


def test_over_rest(site: Site, incident: DriftIncident, live_cast: Any) -> None:
    client, api = Client(), f"/api/v1/incidents/{incident.pk}/comments"
    viewer, operator = bearer(live_cast.viewer, tenant=live_cast.tenant), bearer(live_cast.operator)
    stranger = bearer(live_cast.stranger)
    kind: dict[str, Any] = {"content_type": "application/json"}
    made = client.post(api, {"node": "Step", "text": "Why?"}, **kind, **viewer)
    assert made.status_code == 201, made.content
    assert made.json()["comment"]["incident_id"] == str(incident.pk)
    one = f"{api}/{made.json()['comment']['id']}"
    told = client.get(api, **operator).json()
    assert told["unresolved"] == 1 and told["comments"][0]["author"] == live_cast.viewer.email
    assert client.patch(one, {"text": "mine"}, **kind, **operator).status_code == 403
    assert client.patch(one, {"resolved": True}, **kind, **operator).json()["comment"]["resolved"] is True
    assert client.patch(one, {}, **kind, **operator).status_code == 422
    assert client.patch(f"{api}/{uuid.uuid4()}", {"resolved": True}, **kind, **viewer).status_code == 404
    for answer in (
        client.get(api, **stranger),
        client.post(api, {"text": "hello"}, **kind, **stranger),
        client.patch(one, {"resolved": False}, **kind, **stranger),
        client.delete(one, **stranger),
    ):
        assert answer.status_code == 404
    assert client.delete(one, **operator).status_code == 403
    assert client.delete(one, **viewer).json() == {"deleted": made.json()["comment"]["id"]}


def test_a_comment_of_one_incident_is_not_found_under_another(
    site: Site, incident: DriftIncident, live_cast: Any
) -> None:
    comment = said(site, incident, live_cast.viewer)
    site.edit("Invoices", text="another")
    site.check()
    other = next(one for one in site.incidents() if one.pk != incident.pk)
    with pytest.raises(NotFound):
        discussing.set_resolved(comments.subject_of(other), comment_id=comment.pk, resolved=True, by=live_cast.viewer)


def test_no_row_of_a_tenant_points_to_an_incident_of_another(
    site: Site, incident: DriftIncident, live_cast: Any
) -> None:
    elsewhere = live_cast.other_tenant
    with pytest.raises(IntegrityError), transaction.atomic(), tenant_scope(elsewhere.pk):
        IncidentComment.objects.create(tenant=elsewhere, incident_id=incident.pk, text="mine")
    with tenant_scope(elsewhere.pk):
        assert not IncidentComment.objects.exists()


def test_support_comments_in_write_mode_only_and_under_its_own_name(
    site: Site, incident: DriftIncident, live_cast: Any
) -> None:
    as_support, api = bearer_in_session(live_cast), f"/api/v1/incidents/{incident.pk}/comments"
    client, kind = Client(), {"content_type": "application/json"}
    assert client.get(api, **as_support).status_code == 200
    assert client.post(api, {"text": "Looked at it."}, **kind, **as_support).status_code == 403
    with platform_scope():
        assert not IncidentComment.objects.exists()
        ImpersonationSession.objects.update(mode=Mode.WRITE)
    made = client.post(api, {"text": "Looked at it."}, **kind, **as_support)
    assert made.status_code == 201, made.content
    assert kept(site).author_id == live_cast.support.pk, "the person at the keyboard, not whom they look as"


def bearer_in_session(cast: Any) -> dict[str, str]:
    """The header of support's token, in a session that reads as the owner."""
    token, secret = create_token(user=cast.support, name="cli")
    support.start_session(
        actor=cast.support,
        target=cast.owner,
        tenant=cast.tenant,
        reason="Looking into ticket 4821",
        origin=support.RequestOrigin(token_id=token.pk),
    )
    return {"HTTP_AUTHORIZATION": f"Bearer {secret}"}
