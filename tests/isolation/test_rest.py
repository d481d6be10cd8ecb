"""The API, cell by cell: each place of each route that names an object, each verb, another tenant's id in it.

It answers exactly as an id that does not exist, and nothing changes. All other places of the request hold what is the
caller's own, so that the foreign id is what is refused. A route, or a place that names an object, without a cell fails.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from django.db import models
from django.test import Client

from conftest import Cast
from core.registry import registry
from impersonation import services as support_sessions
from impersonation.models import ImpersonationSession
from impersonation.tests.conftest import REASON
from impersonation.tests.test_api import may_write
from impersonation.tests.test_routes import API_METHODS
from operations.models import Operation
from opsconsole.api import api
from promotions.models import Promotion
from tenants.scope import platform_scope
from tenants.tokens import create_token
from workflows.models import Environment

from .rows import Maker, one_of_each
from .test_answers import REFUSALS, Told

pytestmark = pytest.mark.django_db

PREFIX = "/api/v1/"
VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE")
#: What the places of the API name: the table of the object.
OBJECTS = {
    **{f"{subject.job_subject}_id": subject.table for subject in registry.subjects().values() if subject.job_subject},
    "environment_id": "environments",
    "source_env_id": "environments",
    "target_env_id": "environments",
    "source_environment_id": "environments",
    "target_environment_id": "environments",
    "snapshot_id": "snapshots",
    "incident_id": "drift_incidents",
    "upgrade_id": "n8n_upgrades",
    "rehearsal_id": "n8n_rehearsals",
    "guard_change_id": "guard_changes",
    "promotion_id": "promotions",
    "comment_id": "review_comments",
    "incident_comment_id": "incident_comments",
    "operation_id": "background_jobs",
    "operation": "background_jobs",
    "resource_id": "snapshots",
    "workflow_id": "canonical_workflows",
    "execution_ids": "executions",
    "run_id": "report_runs",
    "parked_id": "outbox_parked_events",
    "session_id": "platform_impersonation_sessions",
    "session": "platform_impersonation_sessions",
    "request_id": "support_requests",
    "tenant": "tenants",
    "tenant_id": "tenants",
    "about": "tenants",
    "user_id": "users",
    "target_user_id": "users",
    "allow_user_id": "users",
    "forbid_user_id": "users",
    "person": "people",
    "target_email": "people",
    "assigned_to": "people",
    "acted_as": "people",
}
#: Places that name nothing of a tenant's, with something to put there.
WORDS = {"name": "access-review", "answer": "approve", "what": "end-sessions"}
#: Bodies that the description leaves open: their places that name objects.
OPEN_BODIES = {
    ("POST", "promotions"): ("source_environment_id", "target_environment_id"),
    ("POST", "incidents/{incident_id}/acknowledge"): ("assigned_to",),
}
#: What a body must also hold to be understood.
FILLING = {"access": "REFUSED", "write_consent": "OWNER", "reason": "a reason of length", "mfa_code": "000000"}
#: Places that narrow what the caller's own tenant is asked: nothing to refuse, and nothing more to be seen.
NARROWING = ("about", "person", "acted_as")
MADE_NOW = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d{4}-\d\d-\d\dT[\d:.]+(?:Z|\+00:00)")
PARAMETER = re.compile(r"{(\w+)}")
LOOKS_LIKE_AN_OBJECT = re.compile(r"(_id|_ids|^tenant|^user|^person|^session|^operation)$")

SCHEMA = api.get_openapi_schema(path_prefix=PREFIX)
CALLS = {
    (method.upper(), path.removeprefix(PREFIX)): call
    for path, item in SCHEMA["paths"].items()
    for method, call in item.items()
}


def query_of(call: dict[str, Any]) -> list[str]:
    return [p["name"] for p in call.get("parameters", []) if p["in"] == "query"]


def body_of(method: str, path: str, call: dict[str, Any]) -> dict[str, Any]:
    """The body's fields as the API describes them."""
    schema = call.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    # A body that may be left out is one of two: the body or nothing.
    schema = next((one for one in schema.get("anyOf", ()) if "$ref" in one), schema)
    named = SCHEMA["components"]["schemas"].get(schema.get("$ref", "").rpartition("/")[2], schema)
    return {**named.get("properties", {}), **{name: {} for name in OPEN_BODIES.get((method, path), ())}}


@dataclass(frozen=True)
class Cell:
    """One place of one request that names an object."""

    method: str
    path: str
    where: str
    name: str

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.where}:{self.name}"


def cells() -> Iterator[Cell]:
    """Each place of each call; a place in the address for every verb, whether the route takes it or not."""
    for method, path in CALLS:
        call = CALLS[method, path]
        yield from (Cell(method, path, "query", name) for name in query_of(call) if name in OBJECTS)
        yield from (Cell(method, path, "body", name) for name in body_of(method, path, call) if name in OBJECTS)
    for path in {path for _, path in CALLS}:
        for name in PARAMETER.findall(path):
            yield from (Cell(verb, path, "path", name) for verb in VERBS if name in OBJECTS)


CELLS = sorted(set(cells()), key=str)


def test_every_route_is_described_or_asks_for_nothing() -> None:
    """What the description leaves out would have no cell."""
    described = {re.sub(r"{(\w+)}", r"<\1>", f"{PREFIX[1:]}{path}") for _, path in CALLS}
    assert {route for route in API_METHODS if "<" in route} <= described
    assert {(m, re.sub(r"{(\w+)}", r"<\1>", f"{PREFIX[1:]}{p}")) for m, p in CALLS} == {
        (method, route) for route, methods in API_METHODS.items() for method in methods if route in described
    }


def test_every_place_that_names_an_object_has_cells() -> None:
    unknown = set()
    for (method, path), call in CALLS.items():
        names = {*PARAMETER.findall(path), *query_of(call), *body_of(method, path, call)}
        unknown |= {n for n in names if LOOKS_LIKE_AN_OBJECT.search(n) and n not in OBJECTS}
        unknown |= {n for n in PARAMETER.findall(path) if n not in OBJECTS and n not in WORDS}
    assert not unknown, f"say in OBJECTS what these name: {unknown}"
    assert len(CELLS) > 200


class Estate:
    """Ids of both tenants, and ids of nothing, for what a place names."""

    def __init__(self, cast: Cast) -> None:
        with platform_scope():
            self.ours, self.theirs = one_of_each(cast.tenant), one_of_each(cast.other_tenant)
        self.cast = cast

    def own(self, name: str) -> str:
        table = OBJECTS[name]
        if table in ("tenants", "users", "people"):
            return {"tenants": "acme", "users": str(self.cast.viewer.pk), "people": self.cast.viewer.email}[table]
        return str(_of_table(self.ours, table).pk)

    def foreign(self, name: str) -> list[tuple[str, str]]:
        """(one of the other tenant's, one that does not exist)."""
        table = OBJECTS[name]
        if table == "tenants":
            by_word = [] if name == "tenant_id" else [("umbrella", "nothing-here")]
            return [(str(self.cast.other_tenant.pk), str(uuid.uuid4())), *by_word]
        if table == "users":
            return [(str(self.cast.stranger.pk), str(uuid.uuid4()))]
        if table == "people":
            return [(self.cast.stranger.email, "nobody@example.org"), (str(self.cast.stranger.pk), str(uuid.uuid4()))]
        return [(str(_of_table(self.theirs, table).pk), str(uuid.uuid4()))]

    def request(self, cell: Cell, ident: str) -> tuple[str, bytes]:
        """Address and body of a request whose every other place is the caller's own."""
        call = CALLS.get((cell.method, cell.path), {})

        def value(where: str, name: str) -> str:
            if (where, name) == (cell.where, cell.name):
                return ident
            return WORDS.get(name) or self.own(name)

        path = PREFIX + PARAMETER.sub(lambda match: value("path", match[1]), cell.path)
        asked = query_of(call)
        # A filter is asked for by its own cell; what says where is needed in each.
        kept = [n for n in asked if (cell.where, cell.name) == ("query", n) or n in ("tenant", "source_env_id")]
        kept += [n for n in asked if n == "target_env_id"]
        query = "&".join([*(f"{n}={value('query', n)}" for n in kept), *(["wait=0"] if "wait" in asked else [])])
        fields = body_of(cell.method, cell.path, call)
        body = {n: FILLING[n] for n in fields if n in FILLING}
        body |= {n: value("body", n) for n in fields if n in OBJECTS and self._wanted(cell, n)}
        return path + (f"?{query}" if query else ""), orjson.dumps(body)

    def _wanted(self, cell: Cell, name: str) -> bool:
        """Either of two ways to name the same thing is enough, and the cell's own is the one."""
        alike = {"target_user_id": "target_email", "target_email": "target_user_id", "tenant_id": "tenant"}
        other = alike.get(name)
        return (cell.where, cell.name) == ("body", name) or other is None or (cell.where, cell.name) != ("body", other)


def _of_table(rows: dict[type[models.Model], models.Model], table: str) -> models.Model:
    return next(row for model, row in rows.items() if model._meta.db_table == table)


def standing(cast: Cast, estate: Estate) -> str:
    """All that the other tenant has."""
    with platform_scope():
        rows = [
            (model._meta.db_table, sorted(map(str, model._default_manager.filter(pk=row.pk).values_list())))
            for model, row in estate.theirs.items()
        ]
    return str(rows)


@pytest.mark.parametrize("bound", [False, True], ids=["unbound", "bound"])
def test_another_tenants_id(cast: Cast, client: Client, bound: bool) -> None:
    estate = Estate(cast)
    _, secret = create_token(user=cast.owner, name="mine", tenant=cast.tenant if bound else None)
    headers = {"Authorization": f"Bearer {secret}"}
    client.get("/api/v1/tenants", headers=headers)
    before, wrong = standing(cast, estate), []
    for cell in CELLS:
        for known, missing in estate.foreign(cell.name):
            told = []
            for ident in (known, missing):
                where, body = estate.request(cell, ident)
                told.append(
                    Told(
                        client,
                        cell.method,
                        where,
                        [ident, ident.replace("@", "%40")],
                        data=body,
                        content_type="application/json",
                        headers=headers,
                    )
                )
            for one in told:
                one.words = MADE_NOW.sub("…", one.words)
            narrows = cell.name in NARROWING or (cell.where == "query" and cell.method == "GET")
            if told[0] != told[1] or not (told[0].status in REFUSALS or (narrows and told[0].status in (200, 202))):
                wrong.append(f"{cell} {known}:\n  {told[0]}\n  {told[1]}"[:1500])
    assert not wrong, "\n".join(wrong[:10])
    assert standing(cast, estate) == before


#: What a place takes that holds an object of another kind: the filter finds nothing, as with any id.
FILTERS = frozenset({"session", "about", "person", "acted_as", "operation"})


def of_another_kind(estate: Estate, name: str) -> str:
    """The id of something that is the caller's own, and not what the place names."""
    other = "snapshots" if OBJECTS[name] == "environments" else "environments"
    return str(_of_table(estate.ours, other).pk)


def secret_of(cast: Cast, who: str) -> str:
    """A token of a member, or of support's that is in a session as the owner: reading, or with leave to write."""
    if not who.startswith("support"):
        return create_token(user=getattr(cast, who), name="mine")[1]
    token, secret = create_token(user=cast.support, name="mine")
    session = support_sessions.start_session(
        actor=cast.support,
        target=cast.owner,
        tenant=cast.tenant,
        reason=REASON,
        origin=support_sessions.RequestOrigin(token_id=token.pk),
    )
    if who == "support writing":
        may_write(session)
    return secret


def session_stands(cast: Cast) -> bool:
    with platform_scope():
        return ImpersonationSession.objects.filter(actor_user=cast.support, ended_at=None).exists()


WHO = ("owner", "operator", "support reading", "support writing")


@pytest.mark.parametrize("who", WHO)
def test_an_object_of_another_kind(cast: Cast, client: Client, who: str) -> None:
    """One's own snapshot where an environment is asked for answers as nothing does, and changes nothing."""
    estate = Estate(cast)
    headers = {"Authorization": f"Bearer {secret_of(cast, who)}"}
    client.get("/api/v1/tenants", headers=headers)
    before, wrong = jobs_of(cast), []
    for cell in CELLS:
        if cell.name == "resource_id":
            continue  # of any kind
        told = []
        for ident in (of_another_kind(estate, cell.name), str(uuid.uuid4())):
            where, body = estate.request(cell, ident)
            more: dict[str, Any] = {"data": body, "content_type": "application/json", "headers": headers}
            one = Told(client, cell.method, where, [ident], **more)
            one.words = MADE_NOW.sub("…", one.words)
            told.append(one)
        narrows = cell.name in FILTERS or (cell.where == "query" and cell.method == "GET")
        if told[0] != told[1] or not (told[0].status in REFUSALS or (narrows and told[0].status in (200, 202))):
            wrong.append(f"{cell}:\n  {told[0]}\n  {told[1]}"[:1500])
    assert not wrong, "\n".join(wrong[:10])
    assert jobs_of(cast) - before <= reports_of(cast)
    assert session_stands(cast) is who.startswith("support"), "from where it ended on, nothing was tried"


def jobs_of(cast: Cast) -> set[tuple[uuid.UUID, str]]:
    with platform_scope():
        return set(Operation.objects.filter(tenant=cast.tenant).values_list("pk", "kind"))


def reports_of(cast: Cast) -> set[tuple[uuid.UUID, str]]:
    """A report may be asked about anything: it finds nothing."""
    return {(pk, kind) for pk, kind in jobs_of(cast) if kind.startswith("reports.")}


#: Bodies that name an environment, or an object in one, beside another object that lies in an environment.
WHY = {"reason": "a reason of length"}
PAIRS = (
    ("restore/{environment_id}/execute", "snapshot_id", {"delete_extra": True, **WHY}),
    ("restore/{environment_id}/execute", "snapshot_id", {"delete_extra": True, "dry_run": True, **WHY}),
    ("promotions/{promotion_id}/rollback", "snapshot_id", {"force": True, **WHY}),
    ("workflows/{workflow_id}/test", "environment_id", {"run": True}),
)


def test_the_bodies_that_name_two_places_are_known() -> None:
    """A new body with an object beside another one in its address is tried here as well."""
    found = {
        (path, name)
        for (method, path), call in CALLS.items()
        if method != "GET" and PARAMETER.findall(path)
        for name in body_of(method, path, call)
        if OBJECTS.get(name) in ("environments", "snapshots", "promotions", "drift_incidents", "executions")
    }
    assert found == {(path, name) for path, name, _ in PAIRS}


@pytest.mark.parametrize(("path", "name", "more"), PAIRS)
@pytest.mark.parametrize("who", WHO)
def test_an_object_of_another_environment(
    cast: Cast, client: Client, who: str, path: str, name: str, more: dict[str, Any]
) -> None:
    """Of the same tenant: a guarded environment takes nothing from it, with whatever switches."""
    estate = Estate(cast)
    with platform_scope():
        Environment.objects.filter(tenant=cast.tenant).update(kind="production")
        named = next(model for model in estate.ours if model._meta.db_table == OBJECTS[name])
        elsewhere = Maker(cast.tenant, cast.viewer).make(named)
        promotion = _of_table(estate.ours, "promotions")
        Promotion.objects.filter(pk=promotion.pk).update(status="COMPLETED")
    secret = secret_of(cast, who)
    where = PREFIX + PARAMETER.sub(lambda match: estate.own(match[1]), path)
    body = {name: str(elsewhere.pk), **more}
    before = jobs_of(cast)
    answer = client.post(
        f"{where}?wait=0", body, content_type="application/json", headers={"Authorization": f"Bearer {secret}"}
    )
    assert answer.status_code in (403, 404, 409), answer.content
    assert jobs_of(cast) == before


def test_the_cells_would_see_it(cast: Cast, client: Client) -> None:
    """The same questions from the other tenant's owner are answered: the matrix can fail."""
    estate = Estate(cast)
    _, secret = create_token(user=cast.stranger, name="theirs")
    seen = 0
    for cell in CELLS:
        if cell.method != "GET" or cell.where != "path" or (cell.method, cell.path) not in CALLS:
            continue
        known, missing = estate.foreign(cell.name)[0]
        told = [
            Told(client, "GET", estate.request(cell, ident)[0], [ident], headers={"Authorization": f"Bearer {secret}"})
            for ident in (known, missing)
        ]
        seen += told[0] != told[1]
    assert seen >= 8
