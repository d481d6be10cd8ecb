"""Contents beside the manifests, so that the runbook's extraction from the database gives whole workflows.

To the operator ``snapshots`` is a view that puts each content into its entry, assembled only where that column is
read. What a runbook inserts there goes into the table, without contents: those are kept by their names in Git.
"""

import uuid
from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models

from tenants.rls import protect

COLUMNS = (
    "id, tenant_id, environment_id, snapshot_type, description, workflows, workflow_count, total_bytes,"
    " git_commit_sha, operation_id, created_by, created_at, verified_at, hash_version, verification"
)
ASSEMBLED = COLUMNS.replace("workflows,", "opsconsole_with_contents(tenant_id, workflows) AS workflows,")
FUNCTIONS = [
    # What JSON may say and PostgreSQL does not take (a NUL in a text) must not hide the rest of a snapshot.
    """
    CREATE FUNCTION opsconsole_as_jsonb(given text) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog AS $$
    BEGIN
        RETURN given::jsonb;
    EXCEPTION WHEN data_exception OR character_not_in_repertoire THEN
        RETURN NULL;
    END $$
    """,
    """
    CREATE FUNCTION opsconsole_with_contents(tenant uuid, manifest jsonb) RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, public AS $$
    SELECT CASE WHEN jsonb_typeof(manifest) <> 'array' THEN manifest ELSE (
        SELECT coalesce(jsonb_agg(
            e.entry
            || CASE WHEN c.blob IS NULL THEN '{}' ELSE jsonb_build_object('content', opsconsole_as_jsonb(c.content)) END
            || CASE WHEN d.blob IS NULL THEN '{}' ELSE jsonb_build_object('draft',
                   (e.entry -> 'draft') || jsonb_build_object('content', opsconsole_as_jsonb(d.content))) END
            ORDER BY e.place), '[]')
          FROM jsonb_array_elements(manifest) WITH ORDINALITY AS e (entry, place)
          LEFT JOIN workflow_contents c ON c.tenant_id = tenant AND c.blob = e.entry ->> 'blob'
          LEFT JOIN workflow_contents d ON d.tenant_id = tenant AND d.blob = e.entry -> 'draft' ->> 'blob'
    ) END $$
    """,
    """
    CREATE FUNCTION opsconsole_without_contents(manifest jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog AS $$
    SELECT CASE WHEN jsonb_typeof(manifest) <> 'array' THEN manifest ELSE (
        SELECT coalesce(jsonb_agg((e.entry - 'content') #- '{draft,content}' ORDER BY e.place), '[]')
          FROM jsonb_array_elements(manifest) WITH ORDINALITY AS e (entry, place)
    ) END $$
    """,
    f"""
    CREATE FUNCTION opsconsole_insert_snapshot() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
    BEGIN
        NEW.id := coalesce(NEW.id, gen_random_uuid());
        NEW.workflows := opsconsole_without_contents(coalesce(NEW.workflows, '[]'));
        NEW.hash_version := coalesce(NEW.hash_version, 1);
        NEW.created_at := coalesce(NEW.created_at, now());
        INSERT INTO public.snapshots ({COLUMNS})
        VALUES ({", ".join(f"NEW.{name}" for name in COLUMNS.split(", "))});
        RETURN NEW;
    END $$
    """,  # noqa: S608 -- constants
]
VIEW = [
    f"CREATE VIEW runbook.snapshots WITH (security_invoker = true) AS SELECT {ASSEMBLED} FROM public.snapshots",  # noqa: S608 -- constants
    "CREATE TRIGGER insert_snapshot INSTEAD OF INSERT ON runbook.snapshots"
    " FOR EACH ROW EXECUTE FUNCTION opsconsole_insert_snapshot()",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON runbook.snapshots TO opsconsole_operator",
]
#: Quicker and nearly as small as PostgreSQL's own compression, where the server was built with it.
COMPRESSION = """
DO $$ BEGIN
    ALTER TABLE workflow_contents ALTER COLUMN content SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    NULL;
END $$
"""
BACKWARD = [
    "DROP VIEW runbook.snapshots",
    "DROP FUNCTION opsconsole_insert_snapshot()",
    "DROP FUNCTION opsconsole_without_contents(jsonb)",
    "DROP FUNCTION opsconsole_with_contents(uuid, jsonb)",
    "DROP FUNCTION opsconsole_as_jsonb(text)",
]


class Migration(migrations.Migration):
    dependencies: ClassVar = [("snapshots", "0004_rows_without_commit"), ("operations", "0004_runbook_schema")]
    operations: ClassVar = [
        migrations.CreateModel(
            name="WorkflowContent",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("blob", models.CharField(max_length=64)),
                ("content", models.TextField()),
                (
                    "tenant",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_contents",
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "blob"), name="workflow_contents_once"),
                ],
            },
        ),
        # Each is in Git, whose commits are in the trail.
        protect("workflow_contents", trail=False),
        migrations.RunSQL(COMPRESSION, migrations.RunSQL.noop),
        migrations.RunSQL([*FUNCTIONS, *VIEW], BACKWARD),
    ]
