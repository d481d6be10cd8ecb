"""A large estate straight into the database: the same for the same sizes, in a minute or two.

    script/bench estate [--tenants 500] [--workflows 200]

Everything that was in the benchmark's database goes. Each tenant has three environments; each of those has its
workflows, snapshots, drift, credentials and runs, and the tenant promotions, jobs, members, tokens and a trail. The
first tenant's contents are also in Git, so that pages that read it can be measured. Signs in as the first tenant's
owner, who is a platform admin too: ``owner-1@example.org``.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from .setup import start_django

KEPT = {"django_migrations", "django_content_type", "auth_permission"}
PEOPLE = 5
SNAPSHOTS = 12
WITH_MANIFEST = 2
PROMOTIONS = 20
JOBS = 100
JOBS_WITH_STEPS = 10
STEPS = 12
TRAIL = 200
RUNS = 100
EMAIL = "owner-1@example.org"
NOW = "now()"


def ident(*parts: str) -> str:
    """SQL: a UUID from a name, the same at every load."""
    return f"md5({' || $$:$$ || '.join(parts)})::uuid"


TENANT, USER = ident("'tenant'", "t"), ident("'user'", "t", "u")
ENVIRONMENT, CANONICAL = ident("'env'", "t", "e"), ident("'wf'", "t", "w")
PLACE, SNAPSHOT = ident("'map'", "t", "e", "w"), ident("'snap'", "t", "e", "s")
OPERATION, PROMOTION = ident("'op'", "t", "j"), ident("'promo'", "t", "p")
OWNER = ident("'user'", "t", "1")
HASH = "md5('seen' || {0}) || md5('more' || {0})"
APPROVED_HASH = HASH.format("t || '.' || w")
#: One in ten workflows of an environment has drifted.
SEEN_HASH = f"CASE WHEN (w + e) %% 10 = 0 THEN {HASH.format('t || $$.$$ || e || $$.$$ || w')} ELSE {APPROVED_HASH} END"
WORKFLOW_KEY = "'workflow-' || lpad(w::text, 4, '0')"
WORKFLOW_NAME = (
    "'Workflow ' || lpad(w::text, 4, '0') || (ARRAY[' invoices', ' leads', ' tickets', ' stock'])[1 + w %% 4]"
)
WORKFLOW_ID = "'n8n' || e || 'x' || lpad(w::text, 8, '0')"


@dataclass(frozen=True)
class Size:
    tenants: int
    workflows: int


def series(**counts: int) -> str:
    """SQL: the product of series 1..n, each under its name."""
    return ", ".join(f"generate_series(1, {count}) AS {name}" for name, count in counts.items())


def statements(size: Size) -> list[tuple[str, dict[str, str], str]]:
    """Table, columns as SQL expressions, and where the rows come from."""
    t, w = size.tenants, size.workflows
    created = f"{NOW} - make_interval(days => 90, secs => t)"
    source_snapshot, target_snapshot = ident("'snap'", "t", "2", "1"), ident("'snap'", "t", "3", "1")
    manifest_entry = (
        f"jsonb_build_object('key', {WORKFLOW_KEY}, 'name', {WORKFLOW_NAME}, 'path', 'workflows/' || {WORKFLOW_KEY} || '.json',"
        f" 'content_hash', {SEEN_HASH}, 'comparable_hash', {SEEN_HASH}, 'active', w %% 3 = 0,"
        f" 'env_workflow_id', {WORKFLOW_ID}, 'blob', repeat('0', 40), 'bytes', 12000, 'node_count', 12)"
    )
    manifest = (
        f"CASE WHEN s <= {WITH_MANIFEST} THEN (SELECT jsonb_agg({manifest_entry} ORDER BY w)"
        f" FROM generate_series(1, {w}) AS w) ELSE '[]'::jsonb END"
    )
    job_status = "(ARRAY['COMPLETED','COMPLETED','COMPLETED','COMPLETED','FAILED','CANCELLED','PARKED','RUNNING'])[1 + CASE WHEN j > 8 THEN j %% 6 ELSE j - 1 END]"
    item = (
        f"jsonb_build_object('key', {WORKFLOW_KEY}, 'name', {WORKFLOW_NAME}, 'action', 'update', 'active', true,"
        f" 'expected_hash', {APPROVED_HASH}, 'wanted_hash', {APPROVED_HASH}, 'tags', '[]'::jsonb, 'depends_on', '[]'::jsonb,"
        " 'credentials', '[]'::jsonb, 'workflows', '[]'::jsonb, 'warnings', '[]'::jsonb,"
        f" 'source', jsonb_build_object('env_workflow_id', {WORKFLOW_ID}, 'blob', ''),"
        f" 'target', jsonb_build_object('env_workflow_id', {WORKFLOW_ID}, 'active', true))"
    )
    return [
        ("users", {
            "password": "'!'", "is_superuser": "false", "id": USER, "email": "'owner-' || t || CASE WHEN u > 1 THEN '-' || u ELSE '' END || '@example.org'",
            "name": "'Person ' || t || '.' || u", "role": "'member'", "is_active": "true", "is_staff": "t = 1 AND u = 1",
            "is_service": "false", "created_at": created, "updated_at": created,
        }, series(t=t, u=PEOPLE)),
        ("platform_admins", {"user_id": ident("'user'", "'1'", "'1'"), "created_at": NOW}, series(t=1)),
        ("tenants", {
            "id": TENANT, "name": "'Tenant ' || lpad(t::text, 4, '0')", "slug": "'tenant-' || t", "status": "'active'",
            "git_remote_url": "''", "git_remote_secret": "''", "created_at": created, "updated_at": created,
        }, series(t=t)),
        ("memberships", {
            "id": ident("'member'", "t", "u"), "role": "(ARRAY['owner','operator','approver','viewer','viewer'])[u]",
            "created_at": created, "user_id": USER, "tenant_id": TENANT,
        }, series(t=t, u=PEOPLE)),
        ("tenant_grants", {"id": "nextval(pg_get_serial_sequence('tenant_grants', 'id'))", "content_object_id": TENANT, "permission_id": "p.id", "user_id": ident("'user'", "t", "1")},
         series(t=t) + " CROSS JOIN auth_permission p JOIN django_content_type c ON c.id = p.content_type_id"
         " WHERE c.app_label = 'tenants' AND c.model = 'tenant' AND p.codename IN ('view_tenant','operate','approve',"
         "'manage_environments','manage_members','manage_tokens','view_trail','administer')"),
        ("api_tokens", {
            "id": ident("'token'", "t", "u"), "name": "'Token ' || u", "prefix": "'oc_' || u", "token_hash": "md5('a' || t || '.' || u) || md5('b' || t || '.' || u)",
            "permissions": "'{}'", "created_at": created, "user_id": OWNER, "tenant_id": TENANT,
        }, series(t=t, u=PEOPLE)),
        ("environments", {
            "id": ENVIRONMENT, "name": "(ARRAY['Development','Staging','Production'])[e]", "slug": "(ARRAY['dev','staging','production'])[e]",
            "kind": "(ARRAY['dev','staging','production'])[e]", "position": "e", "base_url": "'https://n8n-' || t || '-' || e || '.example.org'",
            "api_key_encrypted": "'-'", "is_archived": "false", "n8n_version": "'1.123.0'",
            "connection_status": "CASE WHEN t %% 17 = 0 AND e = 3 THEN 'failed' ELSE 'ok' END", "last_checked_at": f"{NOW} - interval '5 minutes'",
            "last_captured_at": f"{NOW} - make_interval(mins => t %% 1500)", "last_snapshot_id": ident("'snap'", "t", "e", "1"),
            "baseline_commit_sha": "md5('c' || t) || '00000000'", "created_at": created, "updated_at": created, "tenant_id": TENANT,
        }, series(t=t, e=3)),
        ("canonical_workflows", {
            "id": CANONICAL, "key": WORKFLOW_KEY, "name": WORKFLOW_NAME, "created_at": created, "updated_at": created, "tenant_id": TENANT,
        }, series(t=t, w=w)),
        ("workflow_env_map", {
            "id": PLACE, "env_workflow_id": WORKFLOW_ID,
            "status": "CASE WHEN (w + t) %% 50 IN (0, 10) THEN 'unmapped' WHEN (w + t) %% 51 = 0 THEN 'missing' ELSE 'linked' END",
            "git_content_hash": APPROVED_HASH, "env_content_hash": SEEN_HASH, "comparable_hash": SEEN_HASH, "normalization_version": "2",
            "env_name": WORKFLOW_NAME, "env_active": "w %% 3 = 0", "git_active": "w %% 3 = 0", "env_tags": "ARRAY['tag ' || w %% 12]", "env_version_id": "''",
            "node_count": "12", "content_changed_at": created, "last_seen_at": NOW, "created_at": created, "updated_at": created,
            "canonical_workflow_id": CANONICAL, "environment_id": ENVIRONMENT, "tenant_id": TENANT,
            "fingerprint": f"jsonb_build_object('v', 2, 'body', {SEEN_HASH}, 'refs', '[]'::jsonb, 'creds', '[\"Postgres\"]'::jsonb, 'types', '[\"n8n-nodes-base.set\"]'::jsonb)",
        }, series(t=t, e=3, w=w)),
        ("known_credentials", {
            "id": ident("'cred'", "t", "e", "k"), "credential_type": "'postgres'", "name": "'Postgres ' || k", "credential_id": "'cred' || k",
            "source": "'seen'", "uses": "k", "last_seen_at": NOW, "environment_id": ENVIRONMENT, "tenant_id": TENANT,
        }, series(t=t, e=3, k=8)),
        ("executions", {
            "id": ident("'run'", "t", "e", "x"), "env_execution_id": "x::text", "number": "x", "sorted_at": f"{NOW} - make_interval(mins => x * 7)", "env_workflow_id": "'n8n' || e || 'x' || lpad((1 + x %% 200)::text, 8, '0')",
            "status": "CASE WHEN x %% 9 = 0 THEN 'error' ELSE 'success' END", "mode": "'trigger'", "started_at": f"{NOW} - make_interval(mins => x * 7)",
            "ended_at": f"{NOW} - make_interval(mins => x * 7)", "environment_id": ENVIRONMENT, "tenant_id": TENANT,
        }, series(t=t, e=3, x=RUNS)),
        ("snapshots", {
            "id": SNAPSHOT, "snapshot_type": "(ARRAY['scheduled','manual_backup','pre_promotion','post_promotion','drift_check'])[1 + s %% 5]::snapshot_type",
            "description": "'Snapshot ' || s", "workflows": manifest, "workflow_count": str(w), "total_bytes": str(w * 12000),
            "git_commit_sha": "md5('c' || t || s) || '00000000'", "created_at": f"{NOW} - make_interval(hours => s * 6, mins => e)",
            "created_by": OWNER, "environment_id": ENVIRONMENT, "tenant_id": TENANT,
        }, series(t=t, e=3, s=SNAPSHOTS)),
        ("drift_incidents", {
            "id": ident("'drift'", "t", "e", "w"), "kind": "'modified'", "severity": "(ARRAY['critical','high','medium','low'])[1 + (w / 10) %% 4]",
            "incident_state": "CASE WHEN w %% 20 < 10 THEN 'OPEN' ELSE 'RECONCILED' END",
            "drift_snapshot": "jsonb_build_object('diff_summary', jsonb_build_object('sentences', jsonb_build_array('A node was changed.'), 'counts', jsonb_build_object('nodes_changed', 1)))",
            "drifted_hash": SEEN_HASH, "snapshot_id": ident("'snap'", "t", "e", "1"), "ttl_expires_at": f"{NOW} + make_interval(hours => w %% 90)",
            "comment": "''", "resolution_type": "''", "last_detected_at": NOW, "created_at": f"{NOW} - make_interval(hours => w)", "updated_at": NOW,
            "tenant_id": TENANT, "workflow_env_map_id": PLACE,
        }, series(t=t, e=3, w=w) + " WHERE (w + e) %% 10 = 0"),
        ("background_jobs", {
            "id": OPERATION, "kind": "(ARRAY['snapshots.capture','drift.check','promotions.execute'])[1 + j %% 3]", "title": "'Job ' || j",
            "status": job_status, "params": "'{}'", "error_code": "''", "error_message": "''", "progress_done": "5", "progress_total": "10",
            "progress_note": "''", "idempotency_key": "'key-' || j", "request_hash": "''", "environment_id": ident("'env'", "t", "(1 + j %% 3)"),
            "subject_type": "''", "context": "'{}'", "fence": "1", "attempt": "1", "max_attempts": "5", "lease_owner": "''",
            "lease_expires_at": f"{NOW} + interval '1 day'", "created_at": f"{NOW} - make_interval(hours => j * 2)",
            "started_at": f"{NOW} - make_interval(hours => j * 2)", "ended_at": f"CASE WHEN j IN (7, 8) THEN NULL ELSE {NOW} - make_interval(hours => j * 2) + interval '9 seconds' END",
            "updated_at": f"{NOW} - make_interval(hours => j * 2)", "requested_by_id": OWNER, "tenant_id": TENANT,
        }, series(t=t, j=JOBS)),
        ("operation_steps", {
            "id": ident("'step'", "t", "j", "n"), "position": "n", "name": "'step:' || n", "title": "'Step ' || n", "state": "'DONE'",
            "result": "'{\"ok\": true}'", "attempt": "1", "fence": "1", "started_at": NOW, "ended_at": NOW, "operation_id": OPERATION, "tenant_id": TENANT,
        }, series(t=t, j=JOBS_WITH_STEPS, n=STEPS)),
        ("promotions", {
            "id": PROMOTION, "name": "'Promotion ' || p",
            "status": "(ARRAY['COMPLETED','COMPLETED','FAILED','DRAFT','PENDING_APPROVAL','APPROVED'])[1 + p %% 6]", "description": "''",
            "workflow_keys": f"(SELECT jsonb_agg({WORKFLOW_KEY}) FROM generate_series(1, 20) AS w)",
            "plan": f"(SELECT jsonb_build_object('items', jsonb_agg({item}), 'dangling', '[]'::jsonb, 'warnings', '[]'::jsonb, 'unknown_keys', '[]'::jsonb,"
            " 'counts', jsonb_build_object('create', 0, 'update', 20, 'unchanged', 0),"
            f" 'source', jsonb_build_object('snapshot_id', {source_snapshot}, 'commit', '', 'name', 'Staging'),"
            f" 'target', jsonb_build_object('snapshot_id', {target_snapshot}, 'commit', '', 'name', 'Production'))"
            " FROM generate_series(1, 20) AS w, (SELECT 2 AS e) AS staging)",
            "plan_hash": "''", "options": "'{}'", "operation_id": ident("'op'", "t", "(p * 3 + 2)"), "decision_comment": "''",
            "started_at": f"{NOW} - make_interval(hours => p * 9)", "ended_at": f"{NOW} - make_interval(hours => p * 9)",
            "created_at": f"{NOW} - make_interval(hours => p * 9)", "updated_at": NOW, "created_by_id": OWNER,
            "source_environment_id": ident("'env'", "t", "2"), "target_environment_id": ident("'env'", "t", "3"), "tenant_id": TENANT,
        }, series(t=t, p=PROMOTIONS)),
        ("audit_logentry", {
            "tenant_id": TENANT, "actor_id": OWNER, "cid": "''", "source": "'web'", "action": "a %% 3",
            "action_name": "(ARRAY['CREATE','UPDATE','DELETE'])[1 + a %% 3]",
            "resource_type": "(ARRAY['environments','promotions','snapshots','drift_incidents'])[1 + a %% 4]", "resource_id": ident("'env'", "t", "1"),
            "details": "'{\"new_value\": {\"name\": \"Development\"}}'", "timestamp": f"{NOW} - make_interval(mins => a * 11)",
        }, series(t=t, a=TRAIL)),
    ]  # fmt: skip


def load(size: Size) -> float:
    """Empty the database and fill it; seconds."""
    began = time.perf_counter()
    url = os.environ["DATABASE_OWNER_URL"]
    with psycopg.connect(url) as owner:
        names = [
            row[0]
            for row in owner.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
            ).fetchall()
        ]
        # Tables with a trail refuse to be emptied.
        for name in names:
            owner.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(sql.Identifier(name)))
        emptied = sql.SQL(", ").join(sql.Identifier(name) for name in names if name not in KEPT)
        owner.execute(sql.SQL("TRUNCATE {} RESTART IDENTITY CASCADE").format(emptied))
        owner.execute("SET CONSTRAINTS ALL IMMEDIATE")
        owner.execute("SET LOCAL work_mem = '256MB'")
        owner.execute("SET LOCAL maintenance_work_mem = '256MB'")
        plan = statements(size)
        forced = _forced(owner, [table for table, _, _ in plan])
        for table, named, rows in plan:
            columns = _unnamed(owner, table, named) | named
            # The trail is filled by itself; row security is for those who use the estate, not for who builds it.
            owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            if table in forced:
                owner.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
            chosen = ", ".join(f"{expression} AS {name}" for name, expression in columns.items())
            query = f"INSERT INTO {table} ({', '.join(columns)}) SELECT {chosen} FROM {rows}"
            owner.execute(query.replace("%%", "%"))
            owner.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
            if table in forced:
                owner.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        for name in names:
            owner.execute(sql.SQL("ALTER TABLE {} ENABLE TRIGGER USER").format(sql.Identifier(name)))
        owner.commit()
        owner.autocommit = True
        owner.execute("VACUUM ANALYZE")
    return time.perf_counter() - began


_REQUIRED = (
    "SELECT column_name FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = %s"
    " AND is_nullable = 'NO' AND column_default IS NULL AND is_identity = 'NO'"
)


def _unnamed(owner: psycopg.Connection[Any], table: str, named: dict[str, str]) -> dict[str, str]:
    """What else a row must have, as its model gives it: a new column is no reason to look here."""
    from django.apps import apps
    from django.db import models

    required = {row[0] for row in owner.execute(_REQUIRED, [table]).fetchall()}
    found = {}
    model = next((model for model in apps.get_models() if model._meta.db_table == table), None)
    for field in model._meta.concrete_fields if model is not None else ():
        column = field.column or ""
        if column in named or column not in required:
            continue
        given = field.get_default() if field.has_default() else None
        if isinstance(field, models.DateTimeField):
            found[column] = NOW
        elif isinstance(field, models.JSONField):
            found[column] = f"'{json.dumps(given)}'"
        elif isinstance(given, list):
            found[column] = "'{}'"
        elif isinstance(given, bool | int | float):
            found[column] = str(given).lower()
        elif field.empty_strings_allowed:
            found[column] = f"'{given or ''}'"
    return found


def _forced(owner: psycopg.Connection[Any], tables: list[str]) -> set[str]:
    query = "SELECT relname FROM pg_class WHERE relforcerowsecurity AND relname = ANY(%s)"
    return {row[0] for row in owner.execute(query, [tables]).fetchall()}


def put_into_git(size: Size) -> None:
    """The first tenant's contents in Git, and rows that lead there."""
    import random

    from django.db import connection

    from sandbox.generate import workflow
    from snapshots import repository
    from snapshots.manifest import Manifest, current_manifest, dump_manifest, entry_from, manifest_path, workflow_path
    from snapshots.models import Snapshot
    from tenants.models import Tenant
    from tenants.scope import platform_scope, tenant_scope
    from workflows.content import dump, fingerprint, portable
    from workflows.models import Environment

    with platform_scope():
        tenant = Tenant.objects.get(slug="tenant-1")
    store = repository.opened(tenant.pk).create()
    with tenant_scope(tenant.pk):
        places = list(Environment.objects.order_by("position"))
    for place in places:
        with tenant_scope(tenant.pk):
            kept = list(
                Snapshot.objects.filter(environment=place, created_at__isnull=False).order_by("-created_at")[
                    :WITH_MANIFEST
                ]
            )
        for snapshot in reversed(kept):
            dice, entries, hashes = random.Random(1), [], []
            with store.writer(place.seen_branch) as writer:
                for number, entry in enumerate(snapshot.workflows, 1):
                    raw = workflow(dice, number=number, size=12_000, pinned=False) | {"name": entry["name"]}
                    if (number + place.position) % 10 == 0:
                        raw["nodes"][-1]["parameters"] = {"changed": place.slug}
                    content = portable(raw)
                    data = dump(content)
                    seen = fingerprint(content).content_hash({})
                    blob = writer.put(workflow_path(entry["key"]), data)
                    entries.append(
                        entry | {"blob": blob, "bytes": len(data), "content_hash": seen, "comparable_hash": seen}
                    )
                    hashes.append((entry["key"], seen))
                head = Manifest(
                    id=str(snapshot.pk), environment_id=str(place.pk), environment=place.slug,
                    snapshot_type=snapshot.snapshot_type, created_at=snapshot.created_at.isoformat(), workflows=[],
                )  # fmt: skip
                manifest = current_manifest(
                    head=head, entries=map(entry_from, entries), references={}, findings=[], complete=True
                )
                writer.put(manifest_path(place.pk, snapshot.pk), dump_manifest(manifest))
                commit = writer.commit(
                    message="Snapshot", author=repository.CONSOLE,
                    trailers={"Snapshot-Id": str(snapshot.pk), "Environment": place.slug},
                )  # fmt: skip
            with tenant_scope(tenant.pk):
                Snapshot.objects.filter(pk=snapshot.pk).update(workflows=entries, git_commit_sha=commit)
        approved = _approve(store, place)
        with tenant_scope(tenant.pk), connection.cursor() as cursor:
            Environment.objects.filter(pk=place.pk).update(baseline_commit_sha=approved, last_snapshot_id=kept[0].pk)
            cursor.executemany(
                "UPDATE workflow_env_map m SET env_content_hash = %s, git_content_hash = %s FROM canonical_workflows c"
                " WHERE c.id = m.canonical_workflow_id AND m.environment_id = %s AND c.key = %s",
                [(seen, seen, place.pk, key) for key, seen in hashes],
            )


def _approve(store: Any, place: Any) -> str:
    """``env/<slug>`` holds what was seen."""
    from snapshots import repository

    with store.writer(place.canonical_branch) as writer:
        for path, blob in store.tree(store.tip(place.seen_branch)).items():
            if path.startswith("workflows/"):
                writer.keep(path, blob)
        return str(writer.commit(message="Approved", author=repository.CONSOLE))


def build(size: Size) -> float:
    """Rows, then Git; seconds of both."""
    began = time.perf_counter()
    load(size)
    put_into_git(size)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/bench estate")
    parser.add_argument("--tenants", type=int, default=500)
    parser.add_argument("--workflows", type=int, default=200)
    options = parser.parse_args()
    if os.environ.get("OPSCONSOLE_MODE") not in ("dev", "test"):
        raise SystemExit("This empties the database: it runs in a development data folder only (script/bench).")
    start_django()
    seconds = build(Size(options.tenants, options.workflows))
    print(f"{options.tenants} tenants × 3 environments × {options.workflows} workflows in {seconds:.0f} s")


__all__ = ["EMAIL", "Size", "build"]

if __name__ == "__main__":
    main()
