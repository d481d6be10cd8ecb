"""Whatever a support session writes, and how: the trail replayed is the tables, and every entry has both people.

Tables are written by the ORM in all its ways, by raw SQL and by COPY at psql; what is rolled back must not be in it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import F, Value
from django.db.models.functions import Concat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.models import AuditLog
from audit.triggers import MASKED_COLUMNS, SILENT_COLUMNS
from conftest import owner_connection
from core import context
from impersonation.models import ImpersonationSession
from impersonation.tests.test_kill import inside, session  # noqa: F401 -- a fixture
from tenants.scope import tenant_scope
from workflows.models import CanonicalWorkflow, CredentialMapping, Environment, WorkflowEnvMap

pytestmark = pytest.mark.django_db(transaction=True)

#: In the order in which they may be emptied. Of a workflow's places only what leaves an entry is compared.
TABLES = ("credential_mappings", "workflow_env_map", "canonical_workflows", "environments")
WATCHED = {"id", "tenant_id", "environment_id", "canonical_workflow_id", "status", "git_content_hash"}
REQUEST = "replayed"

Image = dict[str, dict[str, dict[str, Any]]]


class Abandoned(Exception):
    """The transaction is rolled back."""


class Desk:
    """Somebody of support at work in a tenant: few names, so that writes meet."""

    def __init__(self, tenant: Any, operator: psycopg.Connection[Any]) -> None:
        self.tenant, self.operator = tenant, operator

    # -- what is written to

    def environment(self, n: int, **fields: Any) -> Environment:
        given = {"name": f"E{n}", "kind": "staging", "base_url": "https://n8n.example.org", "position": n, **fields}
        return Environment(tenant_id=self.tenant.pk, slug=f"e{n % 3}", **given)

    def workflow(self, n: int, **fields: Any) -> CanonicalWorkflow:
        return CanonicalWorkflow(tenant_id=self.tenant.pk, key=f"w{n % 5}", **{"name": f"W{n}", **fields})

    # -- the ORM

    def save(self, n: int) -> None:
        row = CanonicalWorkflow.objects.filter(key=f"w{n % 5}").first() or self.workflow(n)
        row.name = f"{row.name}, saved {n}"
        row.save()

    def save_fields(self, n: int) -> None:
        for row in Environment.objects.filter(slug=f"e{n % 3}"):
            row.api_key_encrypted, row.name = f"secret-{n}", f"E{n}'"
            row.save(update_fields=["api_key_encrypted"])

    def get_or_create(self, n: int) -> None:
        CanonicalWorkflow.objects.get_or_create(tenant_id=self.tenant.pk, key=f"w{n % 5}", defaults={"name": f"G{n}"})

    def update_or_create(self, n: int) -> None:
        Environment.objects.update_or_create(
            tenant_id=self.tenant.pk,
            slug=f"e{n % 3}",
            defaults={"name": f"U{n}", "position": n, "api_key_encrypted": f"key-{n}"},
            create_defaults={"name": f"C{n}", "kind": "dev", "base_url": "https://n8n.example.org"},
        )

    def bulk_create(self, n: int) -> None:
        CanonicalWorkflow.objects.bulk_create([self.workflow(n + k) for k in range(3)], ignore_conflicts=True)

    def bulk_upsert(self, n: int) -> None:
        CanonicalWorkflow.objects.bulk_create(
            [self.workflow(n + k, name=f"B{n}") for k in range(2)],
            update_conflicts=True, unique_fields=["tenant", "key"], update_fields=["name"],
        )  # fmt: skip

    def bulk_update(self, n: int) -> None:
        rows = list(Environment.objects.order_by("slug")[: n % 4])
        for row in rows:
            row.position, row.api_key_encrypted = n * 10, f"bulk-{n}"
        Environment.objects.bulk_update(rows, ["position", "api_key_encrypted"])

    def update(self, n: int) -> None:
        CanonicalWorkflow.objects.filter(key__gte=f"w{n % 5}").update(name=f"All from {n}")

    def update_by_expression(self, n: int) -> None:
        Environment.objects.update(position=F("position") + n, name=Concat(F("name"), Value("!")))
        CanonicalWorkflow.objects.update(name=F("key"))

    def update_one_of_many(self, n: int) -> None:
        """A column that leaves no entry, and one that does."""
        WorkflowEnvMap.objects.update(node_count=n)
        WorkflowEnvMap.objects.filter(canonical_workflow__key=f"w{n % 5}").update(status="ignored", env_name=f"M{n}")

    def place(self, n: int) -> None:
        for environment in Environment.objects.order_by("slug")[: 1 + n % 3]:
            for row in CanonicalWorkflow.objects.filter(key=f"w{n % 5}"):
                WorkflowEnvMap.objects.get_or_create(
                    tenant_id=self.tenant.pk, canonical_workflow=row, environment=environment,
                    defaults={"env_workflow_id": uuid.uuid4().hex, "git_content_hash": f"{n}" * 8},
                )  # fmt: skip

    def stand_in(self, n: int) -> None:
        rows = list(Environment.objects.order_by("slug")[:2])
        if len(rows) == 2:
            CredentialMapping.objects.update_or_create(
                tenant_id=self.tenant.pk, source_environment=rows[0], target_environment=rows[1],
                credential_type="slackApi", source_name=f"S{n % 3}", defaults={"target_credential_id": f"t{n}"},
            )  # fmt: skip

    def delete_with_all_below(self, n: int) -> None:
        Environment.objects.filter(slug=f"e{n % 3}").delete()

    def delete_one(self, n: int) -> None:
        for row in CanonicalWorkflow.objects.filter(key=f"w{n % 5}"):
            row.delete()

    def another_key(self, _n: int) -> None:
        CredentialMapping.objects.filter(pk__in=CredentialMapping.objects.values("pk")[:1]).update(id=uuid.uuid4())

    # -- SQL

    def sql(self, statement: str, **values: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement, {"tenant": self.tenant.pk, "id": uuid.uuid4(), **values})

    def sql_insert(self, n: int) -> None:
        self.sql(
            "INSERT INTO canonical_workflows (id, tenant_id, key, name, created_at, updated_at)"
            " VALUES (%(id)s, %(tenant)s, %(key)s, 'By hand', now(), now()) ON CONFLICT DO NOTHING",
            key=f"w{n % 5}",
        )

    def sql_update(self, n: int) -> None:
        self.sql(
            "UPDATE environments e SET position = e.position + w.n, base_url = base_url || '/x'"
            " FROM (SELECT count(*) AS n FROM canonical_workflows) w WHERE e.slug >= %(slug)s",
            slug=f"e{n % 3}",
        )

    def sql_delete(self, n: int) -> None:
        self.sql("DELETE FROM workflow_env_map m USING canonical_workflows w"
                 " WHERE w.id = m.canonical_workflow_id AND w.key = %(key)s", key=f"w{n % 5}")  # fmt: skip

    def sql_upsert(self, n: int) -> None:
        self.sql(
            "INSERT INTO canonical_workflows (id, tenant_id, key, name, created_at, updated_at)"
            " SELECT gen_random_uuid(), %(tenant)s, 'w' || k, 'Upserted', now(), now() FROM generate_series(%(n)s, 4) k"
            " ON CONFLICT (tenant_id, key) DO UPDATE SET name = excluded.name || canonical_workflows.name",
            n=n % 5,
        )

    def sql_all_at_once(self, n: int) -> None:
        """Two tables in one statement, the writes inside a WITH."""
        self.sql(
            "WITH moved AS (UPDATE environments SET position = position + 1 RETURNING id), gone AS"
            " (DELETE FROM credential_mappings WHERE source_name = %(name)s RETURNING 1)"
            " SELECT (SELECT count(*) FROM moved), (SELECT count(*) FROM gone)",
            name=f"S{n % 3}",
        )

    def sql_merge(self, n: int) -> None:
        self.sql(
            "MERGE INTO canonical_workflows w USING (SELECT 'w' || k AS key FROM generate_series(0, 4) k) s"
            " ON w.key = s.key WHEN MATCHED AND w.key = %(key)s THEN UPDATE SET name = 'Merged ' || w.name"
            " WHEN NOT MATCHED THEN INSERT (id, tenant_id, key, name, created_at, updated_at)"
            " VALUES (gen_random_uuid(), %(tenant)s, s.key, 'Merged', now(), now())",
            key=f"w{n % 5}",
        )

    def copy(self, n: int) -> None:
        """COPY does not pass row security, so it is an operator's at psql, on a line of its own."""
        columns = "id, tenant_id, key, name, created_at, updated_at"
        with self.operator.cursor().copy(f"COPY canonical_workflows ({columns}) FROM STDIN") as rows:
            for k in range(3):
                key = f"copied-{uuid.uuid4().hex[:12]}"
                rows.write_row([uuid.uuid4(), self.tenant.pk, key, f"Copied {n}.{k}", "2026-01-01", "2026-01-01"])


WAYS: dict[str, Callable[[Desk, int], None]] = {
    name: way for name, way in vars(Desk).items() if callable(way) and name not in ("environment", "workflow", "sql")
}
del WAYS["__init__"]
FATES = ("kept", "kept", "kept", "savepoint", "abandoned", "refused")
Steps = st.lists(
    st.tuples(st.sampled_from(sorted(WAYS)), st.integers(0, 9), st.sampled_from(FATES)), min_size=1, max_size=20
)


def carry_out(desk: Desk, way: str, n: int, fate: str) -> None:
    """One transaction, which ends as its fate says."""
    if way == "copy":
        WAYS[way](desk, n)
        return
    with contextlib.suppress(Abandoned), tenant_scope(desk.tenant.pk):
        if fate == "savepoint":
            with contextlib.suppress(Abandoned), transaction.atomic():
                WAYS[way](desk, n)
                CanonicalWorkflow.objects.update(name="Never")
                raise Abandoned
        elif fate == "refused":
            with pytest.raises(IntegrityError), transaction.atomic():
                WAYS[way](desk, n)
                Environment(tenant_id=desk.tenant.pk, slug="e", name=None).save()
        WAYS[way](desk, n)
        if fate == "abandoned":
            raise Abandoned


def rows_there(tenant: Any) -> Image:
    """The tables as they are, in the trail's own form: secrets masked, bookkeeping left out."""
    found: Image = {}
    with tenant_scope(tenant.pk), connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"SELECT id::text, to_jsonb(t) FROM {table} t")
            found[table] = {pk: compared(table, masked(json.loads(row))) for pk, row in cursor.fetchall()}
    return found


def masked(row: dict[str, Any]) -> dict[str, Any]:
    secrets = {name for name in MASKED_COLUMNS if row.get(name) is not None}
    return row | {name: "masked:" + hashlib.md5(row[name].encode()).hexdigest()[:8] for name in secrets}


def compared(table: str, row: dict[str, Any]) -> dict[str, Any]:
    if table == "workflow_env_map":
        return {name: value for name, value in row.items() if name in WATCHED}
    return {name: value for name, value in row.items() if name not in SILENT_COLUMNS}


def replayed(entries: list[AuditLog]) -> Image:
    """Tables made from nothing but the trail; fails where an entry does not fit what came before it."""
    image: Image = {table: {} for table in TABLES}
    for entry in entries:
        table, pk = entry.resource_type, entry.object_pk
        before = compared(table, entry.details.get("previous_value", {}))
        after = compared(table, entry.details.get("new_value", {}))
        if entry.action == "CREATE":
            assert pk not in image[table], f"{table} {pk} was there already"
            image[table][pk] = after
        elif entry.action == "DELETE":
            assert image[table].pop(pk) == before
        else:
            row = image[table][pk]
            assert {name: row[name] for name in before} == before
            row.update(after)
    return image


def check(desk: Desk, of: ImpersonationSession, steps: list[tuple[str, int, str]]) -> None:
    """Empty the tables, take the steps inside the session, and compare."""
    with tenant_scope(desk.tenant.pk), connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"DELETE FROM {table}")
        start = AuditLog.objects.latest("id").pk
    with inside(of), context.acting(request_id=REQUEST, ip_address="192.0.2.7"):
        for way, n, fate in steps:
            carry_out(desk, way, n, fate)
    with tenant_scope(desk.tenant.pk):
        entries = list(AuditLog.objects.filter(resource_type__in=TABLES, pk__gt=start).order_by("pk"))
    assert replayed(entries) == rows_there(desk.tenant)
    people = (of.actor_user_id, of.impersonated_user_id, of.pk, REQUEST, "web", "opsconsole_app")
    nobody = (None, None, None, "", "sql", "opsconsole_operator")
    for entry in entries:
        said = (
            entry.actor_user_id, entry.impersonated_user_id, entry.session_id, entry.request_id, entry.source,
            entry.database_role,
        )  # fmt: skip
        assert said == (nobody if entry.object_repr.startswith("Copied") else people), entry
        assert entry.tenant_id == desk.tenant.pk
        assert "Never" not in str(entry.details), "what was rolled back is not in the trail"


@pytest.fixture
def desk(live_cast: Any) -> Iterator[Desk]:
    with psycopg.connect(os.environ["DATABASE_OPERATOR_URL"], autocommit=True) as operator:
        yield Desk(live_cast.tenant, operator)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=Steps)
def test_what_a_session_writes_is_the_trail_replayed(
    desk: Desk,
    session: ImpersonationSession,  # noqa: F811
    steps: list[tuple[str, int, str]],
) -> None:
    check(desk, session, steps)


EACH = [(way, n, "kept") for n in (0, 1, 2) for way in ("save", "update_or_create", "place", "stand_in")]


def test_each_way_once(desk: Desk, session: ImpersonationSession) -> None:  # noqa: F811
    """Not left to chance: every way after rows are there, under every fate."""
    for fate in dict.fromkeys(FATES):
        check(desk, session, [*EACH, *((way, 1, fate) for way in WAYS), *EACH])


@pytest.mark.parametrize(
    ("table", "kind", "way"),
    [
        ("canonical_workflows", "update", "update"),
        ("canonical_workflows", "insert", "copy"),
        ("environments", "update", "save_fields"),
        ("workflow_env_map", "delete", "sql_delete"),
        ("credential_mappings", "delete", "delete_with_all_below"),
    ],
)
def test_a_table_that_lost_a_trigger_is_noticed(
    desk: Desk,
    session: ImpersonationSession,  # noqa: F811
    table: str,
    kind: str,
    way: str,
) -> None:
    """The comparison itself can fail."""
    check(desk, session, [*EACH, (way, 1, "kept")])
    with owner_connection() as owner:
        owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER trail_{kind}")
        try:
            with pytest.raises((AssertionError, KeyError)):
                check(desk, session, [*EACH, (way, 1, "kept")])
        finally:
            owner.execute(f"ALTER TABLE {table} ENABLE TRIGGER trail_{kind}")
