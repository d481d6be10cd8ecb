"""Every way of writing is in the trail, with both people, and the trail can be replayed into the tables' contents."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError, ProgrammingError, connection, transaction
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.models import AuditLog, LogEntry
from audit.services import Event, record_event, record_events
from conftest import owner_connection
from core import context
from tenants.models import User
from tenants.rls import trail_trigger
from tenants.scope import platform_scope, tenant_scope
from workflows.models import CanonicalWorkflow, Environment

pytestmark = pytest.mark.django_db
TABLE = "canonical_workflows"


def entries(tenant: Any, table: str = TABLE) -> list[AuditLog]:
    with tenant_scope(tenant.pk):
        return list(AuditLog.objects.filter(resource_type=table).order_by("id"))


def workflow(tenant: Any, number: int, **fields: Any) -> CanonicalWorkflow:
    return CanonicalWorkflow(tenant_id=tenant.pk, key=f"flow-{number}", name=f"Flow {number}", **fields)


def said(row: AuditLog) -> tuple[str, Any, Any]:
    """The action, the name before and the name after."""
    before, after = row.details.get("previous_value", {}), row.details.get("new_value", {})
    return row.action, before.get("name"), after.get("name")


def by_save(tenant: Any) -> None:
    row = workflow(tenant, 1)
    row.save()
    row.name = "Renamed"
    row.save()
    row.delete()


def in_bulk(tenant: Any) -> None:
    CanonicalWorkflow.objects.bulk_create([workflow(tenant, 1)])
    row = CanonicalWorkflow.objects.get()
    row.name = "Renamed"
    CanonicalWorkflow.objects.bulk_update([row], ["name"])
    CanonicalWorkflow.objects.all().delete()


def by_query(tenant: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO canonical_workflows (id, tenant_id, key, name, created_at, updated_at)"
            " VALUES (%s, %s, 'flow-1', 'Flow 1', now(), now())",
            [uuid.uuid4(), tenant.pk],
        )
        cursor.execute("WITH u AS (UPDATE canonical_workflows SET name = 'Renamed' RETURNING 1) SELECT count(*) FROM u")
        cursor.execute("DELETE FROM canonical_workflows")


def by_upsert(tenant: Any) -> None:
    sql = (
        "INSERT INTO canonical_workflows (id, tenant_id, key, name, created_at, updated_at)"
        " VALUES (%s, %s, 'flow-1', %s, now(), now()) ON CONFLICT (id) DO UPDATE SET name = excluded.name"
    )
    pk = uuid.uuid4()
    with connection.cursor() as cursor:
        cursor.execute(sql, [pk, tenant.pk, "Flow 1"])
        cursor.execute(sql, [pk, tenant.pk, "Renamed"])
        cursor.execute("DELETE FROM canonical_workflows")


@pytest.mark.parametrize("way", [by_save, in_bulk, by_query, by_upsert])
def test_whatever_the_way_of_writing(cast: Any, way: Any) -> None:
    session = uuid.uuid4()
    who = {"actor_id": cast.support.pk, "acting_as_id": cast.operator.pk, "session_id": session, "request_id": "r-1"}
    with context.acting(source="web", ip_address="192.0.2.9", **who), tenant_scope(cast.tenant.pk):
        way(cast.tenant)
    rows = entries(cast.tenant)
    assert [said(row) for row in rows] == [
        ("CREATE", None, "Flow 1"),
        ("UPDATE", "Flow 1", "Renamed"),
        ("DELETE", "Renamed", None),
    ]
    for row in rows:
        assert (row.actor_user_id, row.impersonated_user_id, row.session_id) == (
            cast.support.pk, cast.operator.pk, session,
        )  # fmt: skip
        assert (row.request_id, row.source, row.ip_address) == ("r-1", "web", "192.0.2.9")
        assert (row.tenant_id, row.database_role, row.object_pk) == (
            cast.tenant.pk, "opsconsole_app", str(row.resource_id),
        )  # fmt: skip


def test_copy_by_hand(live_cast: Any) -> None:
    with psycopg.connect(os.environ["DATABASE_OPERATOR_URL"], autocommit=True) as operator:
        columns = "id, tenant_id, key, name, created_at, updated_at"
        with operator.cursor().copy(f"COPY canonical_workflows ({columns}) FROM STDIN") as copy:
            for number in range(3):
                copy.write_row([uuid.uuid4(), live_cast.tenant.pk, f"k{number}", "N", "2026-01-01", "2026-01-01"])
    rows = entries(live_cast.tenant)
    assert [said(row) for row in rows] == [("CREATE", None, "N")] * 3
    assert {row.source for row in rows} == {"sql"}


def test_what_the_database_takes_away_by_itself(cast: Any) -> None:
    """A cascade deletes in a table that the statement does not name."""
    with owner_connection() as owner, owner.transaction(force_rollback=True):
        owner.execute("CREATE TABLE parents (id uuid PRIMARY KEY)")
        owner.execute(
            "CREATE TABLE children (id bigint PRIMARY KEY, tenant_id uuid, name text,"
            " parent uuid REFERENCES parents ON DELETE CASCADE)"
        )
        owner.execute(trail_trigger("children"))
        owner.execute("INSERT INTO parents VALUES (%s)", [cast.tenant.pk])
        owner.execute("INSERT INTO children VALUES (7, %s, 'C', %s)", [cast.tenant.pk, cast.tenant.pk])
        owner.execute("DELETE FROM parents")
        found = owner.execute(
            "SELECT action, tenant_id, resource_id, object_repr, source, database_role FROM audit_logs"
            " WHERE resource_type = 'children' AND object_pk = '7' ORDER BY id"
        ).fetchall()
    assert found == [(a, cast.tenant.pk, None, "C", "sql", "opsconsole_owner") for a in ("CREATE", "DELETE")]


def test_a_changed_key_is_one_gone_and_one_come(cast: Any) -> None:
    new = uuid.uuid4()
    with tenant_scope(cast.tenant.pk):
        workflow(cast.tenant, 1).save()
        CanonicalWorkflow.objects.update(id=new)
    assert [said(row) for row in entries(cast.tenant)] == [
        ("CREATE", None, "Flow 1"),
        ("DELETE", "Flow 1", None),
        ("CREATE", None, "Flow 1"),
    ]


def test_secrets_are_masked_long_values_named_and_bookkeeping_left_out(cast: Any) -> None:
    with tenant_scope(cast.tenant.pk):
        environment = Environment.objects.create(
            tenant=cast.tenant, name="E", slug="e", kind="staging", base_url="https://n8n.example.org",
            api_key_encrypted="the-secret",
        )  # fmt: skip
        CanonicalWorkflow.objects.bulk_create([workflow(cast.tenant, 2)])
        CanonicalWorkflow.objects.update(updated_at="2026-01-01T00:00:00Z")
        Environment.objects.filter(pk=environment.pk).update(api_key_encrypted="another-secret")
        record_event(action="X", resource_type="t", tenant_id=cast.tenant.pk, details={"text": "x" * 9000})
    created, changed = entries(cast.tenant, "environments")
    assert created.details["new_value"]["api_key_encrypted"].startswith("masked:")
    assert set(changed.details["new_value"]) == {"api_key_encrypted"}
    assert "secret" not in str(created.details) + str(changed.details)
    assert [row.action for row in entries(cast.tenant)] == ["CREATE"]
    (event,) = entries(cast.tenant, "t")
    assert event.details["text"]["characters"] == 9002


def test_a_write_without_context_fails_and_leaves_nothing(cast: Any) -> None:
    with context.acting(source=""):
        with pytest.raises(ProgrammingError, match="without context"), tenant_scope(cast.tenant.pk):
            workflow(cast.tenant, 1).save()
        with pytest.raises(ProgrammingError, match="without context"), transaction.atomic():
            cast.viewer.name = "Somebody"
            cast.viewer.save()
        with pytest.raises(ProgrammingError, match="without context"), tenant_scope(cast.tenant.pk):
            record_event(action="X", resource_type="t", tenant_id=cast.tenant.pk)
        with tenant_scope(cast.tenant.pk):
            assert not CanonicalWorkflow.objects.exists()


def test_outside_a_scope_the_people_are_known_too(cast: Any) -> None:
    with context.acting(source="web", actor_id=cast.viewer.pk):
        cast.viewer.name = "Somebody"
        cast.viewer.save()
        User.objects.filter(pk=cast.viewer.pk).update(last_login="2026-01-01T00:00:00Z")
    with platform_scope():
        row = AuditLog.objects.filter(resource_type="users", resource_id=cast.viewer.pk).latest("id")
    assert (row.source, row.actor_user_id) == ("web", cast.viewer.pk)
    assert row.details["new_value"]["name"] == "Somebody"


def test_events_stay_in_the_scopes_tenant(cast: Any) -> None:
    with tenant_scope(cast.tenant.pk, read_only=True):
        record_event(action="READ", resource_type="t", tenant_id=cast.tenant.pk)
    for foreign in (cast.other_tenant.pk, None):
        with pytest.raises(ProgrammingError, match="another tenant"), tenant_scope(cast.tenant.pk):
            record_event(action="READ", resource_type="t", tenant_id=foreign)
    with platform_scope():
        both = [Event("READ", "t", tenant_id=t.pk) for t in (cast.tenant, cast.other_tenant)]
        assert record_events(both) == 2


def test_nobody_changes_the_trail(cast: Any) -> None:
    for statement in (
        "INSERT INTO audit_logentry (source, action, action_name, resource_type) VALUES ('web', 0, 'X', 't')",
        "UPDATE audit_logentry SET action_name = 'X'",
        "DELETE FROM audit_logentry",
        "DELETE FROM audit_logs",
        "TRUNCATE audit_logentry",
        "TRUNCATE canonical_workflows",
        "ALTER TABLE audit_logentry DISABLE TRIGGER USER",
        "INSERT INTO audit_epoch (epoch, created_at) VALUES (9, now())",
    ):
        with pytest.raises(ProgrammingError), tenant_scope(cast.tenant.pk), connection.cursor() as cursor:
            cursor.execute(statement)


def test_not_even_its_owner(live_cast: Any) -> None:
    with owner_connection() as owner:
        (pk, part) = owner.execute("SELECT id, tableoid::regclass::text FROM audit_logentry LIMIT 1").fetchone()
        whole = "SELECT count(*), md5(string_agg(e::text, '' ORDER BY id)) FROM audit_logentry e"
        before = owner.execute(whole).fetchone()
        for statement in (
            f"UPDATE audit_logentry SET action_name = 'X' WHERE id = {pk}",
            f"DELETE FROM audit_logs WHERE id = {pk}",
            f"UPDATE {part} SET action_name = 'X' WHERE id = {pk}",
            f"DELETE FROM {part} WHERE id = {pk}",
            f"TRUNCATE {part}",
            "TRUNCATE audit_logentry",
            "TRUNCATE tenants CASCADE",
            "TRUNCATE audit_seal",
        ):
            # A month's own table shows its owner no rows at all.
            with contextlib.suppress(psycopg.errors.InsufficientPrivilege):
                assert owner.execute(statement).rowcount == 0, statement
        assert owner.execute(whole).fetchone() == before


def test_an_operator_cannot_pass_for_somebody_else(live_cast: Any) -> None:
    with psycopg.connect(os.environ["DATABASE_OPERATOR_URL"], autocommit=True) as operator:
        operator.execute("SELECT set_config('opsconsole.source', 'web', false)")
        operator.execute("SELECT set_config('opsconsole.actor_id', %s, false)", [str(live_cast.owner.pk)])
        operator.execute("UPDATE users SET name = 'X' WHERE id = %s", [live_cast.viewer.pk])
    with platform_scope():
        row = AuditLog.objects.filter(resource_type="users").latest("id")
    assert (row.source, row.database_role, row.actor_user_id) == ("sql", "opsconsole_operator", None)


def test_nor_can_an_event_that_an_operator_tells(live_cast: Any) -> None:
    somebody, request = str(live_cast.owner.pk), "somebody-else-s-request"
    event = {
        **dict.fromkeys(("actor_id", "acting_as_id", "session_id", "operation_id"), somebody),
        "tenant_id": str(live_cast.tenant.pk),
        "source": "web",
        "request_id": request,
        "ip_address": "203.0.113.7",
        "action": "LOGIN",
        "resource_type": "users",
        "resource_id": somebody,
        "details": {},
    }
    with psycopg.connect(os.environ["DATABASE_OPERATOR_URL"], autocommit=True) as operator:
        operator.execute("SELECT opsconsole_record_events(%s)", [json.dumps([event])])
        operator.execute("SELECT set_config('opsconsole.request_id', %s, false)", [request])
        operator.execute("SELECT set_config('opsconsole.ip_address', '203.0.113.7', false)")
        operator.execute("UPDATE users SET name = 'X' WHERE id = %s", [live_cast.viewer.pk])
    with platform_scope():
        told, written = AuditLog.objects.filter(resource_type="users").order_by("-id")[:2]
    for row in (told, written):
        assert (row.source, row.database_role) == ("sql", "opsconsole_operator")
        assert {row.actor_user_id, row.impersonated_user_id, row.session_id, row.operation_id, row.ip_address} == {None}
        assert row.request_id != request


def test_entries_outside_every_month_are_kept_in_the_default_partition(cast: Any) -> None:
    with owner_connection() as owner, owner.transaction(force_rollback=True):
        row = owner.execute(
            "INSERT INTO audit_logentry (source, action, action_name, resource_type, timestamp)"
            " VALUES ('sql', 3, 'X', 't', '2001-01-01') RETURNING tableoid::regclass::text"
        ).fetchone()
    assert row == ("audit_logentry_default",)
    with platform_scope(), connection.cursor() as cursor:
        cursor.execute("SELECT opsconsole_trail_partitions(3), opsconsole_trail_partitions(3)")
        assert cursor.fetchone()[1] == 0


def test_auditlogs_own_ways_of_asking(cast: Any) -> None:
    from auditlog import get_logentry_model
    from auditlog.registry import auditlog

    assert get_logentry_model() is LogEntry
    assert not auditlog.get_models(), "auditlog would write entries of its own"
    with tenant_scope(cast.tenant.pk):
        row = workflow(cast.tenant, 1)
        row.save()
        CanonicalWorkflow.objects.update(name="Renamed")
        last, first = LogEntry.objects.get_for_object(row)
    assert last.changes_dict == {"name": ["Flow 1", "Renamed"]} and str(last).startswith("UPDATE")
    assert first.action == LogEntry.Action.CREATE and first.content_type.model == "canonicalworkflow"


Steps = st.lists(
    st.tuples(st.sampled_from(["add", "rename", "note", "remove", "fail"]), st.integers(0, 5), st.integers(0, 9)),
    max_size=25,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=Steps)
def test_the_trail_replayed_is_the_table(cast: Any, steps: list[tuple[str, int, int]]) -> None:
    """From the entries alone the rows can be rebuilt, whatever was done, also where something failed between."""
    with transaction.atomic():
        with tenant_scope(cast.tenant.pk):
            start = AuditLog.objects.latest("id").pk
            for what, low, size in steps:
                keys = [f"flow-{n}" for n in range(low, low + size)]
                chosen = CanonicalWorkflow.objects.filter(key__in=keys)
                if what == "add":
                    CanonicalWorkflow.objects.bulk_create(
                        [workflow(cast.tenant, n) for n in range(low, low + size)], ignore_conflicts=True
                    )
                elif what == "rename":
                    chosen.update(name=f"Name {low}")
                elif what == "note":
                    for row in chosen:
                        row.name = f"{row.name}!"
                        row.save()
                elif what == "remove":
                    chosen.delete()
                else:
                    with pytest.raises(IntegrityError), transaction.atomic():
                        chosen.update(name="Never")
                        CanonicalWorkflow(tenant_id=cast.tenant.pk, key="bad", name=None).save()
            replayed: dict[str, dict[str, Any]] = {}
            for entry in AuditLog.objects.filter(resource_type=TABLE, pk__gt=start).order_by("pk"):
                if entry.action == "DELETE":
                    assert replayed.pop(entry.object_pk) == entry.details["previous_value"]
                elif entry.action == "CREATE":
                    replayed[entry.object_pk] = entry.details["new_value"]
                else:
                    row = replayed[entry.object_pk]
                    assert {k: row[k] for k in entry.details["previous_value"]} == entry.details["previous_value"]
                    row.update(entry.details["new_value"])
            with connection.cursor() as cursor:
                cursor.execute("SELECT id::text, to_jsonb(c) FROM canonical_workflows c")
                there = {pk: json.loads(row) for pk, row in cursor.fetchall()}
            assert replayed == there
        transaction.set_rollback(True)


def test_sign_ins_that_an_operator_takes_away_are_on_record(live_cast: Any) -> None:
    """The runbook's way to lock somebody out at once. The console's own endings are events."""
    client = Client()
    client.force_login(live_cast.viewer)
    with psycopg.connect(os.environ["DATABASE_OPERATOR_URL"], autocommit=True) as operator:
        operator.execute("DELETE FROM user_sessions WHERE user_id = %s", [live_cast.viewer.pk])
    with platform_scope():
        row = AuditLog.objects.get(resource_type="user_sessions")
    assert (row.action, row.source, row.database_role) == ("DELETE", "sql", "opsconsole_operator")
    assert row.resource_id == live_cast.viewer.pk
    assert row.details["previous_value"]["session_data"].startswith("masked:")
