"""Row-level security, and what lets a runbook put a snapshot back by hand from its manifest."""

from django.db import migrations

from tenants.rls import protect


class Migration(migrations.Migration):
    dependencies = [("snapshots", "0001_initial"), ("workflows", "0002_privileges")]

    operations = [
        protect("snapshots", parents={"environment_id": "environments"}),
        migrations.RunSQL(
            [
                # The recovery runbook inserts (id, environment_id, snapshot_type, workflows, …) and nothing else.
                """
                CREATE FUNCTION opsconsole_complete_snapshot() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    IF NEW.tenant_id IS NULL THEN
                        SELECT tenant_id INTO NEW.tenant_id FROM environments WHERE id = NEW.environment_id;
                    END IF;
                    NEW.workflows := coalesce(NEW.workflows, '[]'::jsonb);
                    NEW.workflow_count := coalesce(NEW.workflow_count, jsonb_array_length(NEW.workflows));
                    RETURN NEW;
                END $$
                """,
                "CREATE TRIGGER complete BEFORE INSERT ON snapshots"
                " FOR EACH ROW EXECUTE FUNCTION opsconsole_complete_snapshot()",
            ],
            ["DROP TRIGGER complete ON snapshots", "DROP FUNCTION opsconsole_complete_snapshot()"],
        ),
    ]
