"""What the runbook counts as an environment's workflows are those that are there.

To the operator a workflow that is no longer in n8n reads as *deleted*, whether that was approved or not; one that was
removed on purpose is not shown. Drift of the first kind still finds its row.
"""

from typing import ClassVar

from django.db import migrations

TABLE = "workflow_env_map"
STATUS = "CASE status WHEN 'missing' THEN 'deleted' ELSE status END::varchar(16) AS status"


def make(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = %s"
            " ORDER BY ordinal_position",
            [TABLE],
        )
        columns = ", ".join(STATUS if name == "status" else name for (name,) in cursor.fetchall())
        shown = f"SELECT {columns} FROM public.{TABLE} WHERE status <> 'deleted'"  # noqa: S608 -- the catalogue's names
        cursor.execute(f"CREATE VIEW runbook.{TABLE} WITH (security_invoker = true) AS {shown}")
        cursor.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON runbook.{TABLE} TO opsconsole_operator")


def drop(apps, schema_editor):
    schema_editor.execute(f"DROP VIEW runbook.{TABLE}")


class Migration(migrations.Migration):
    dependencies: ClassVar = [
        ("workflows", "0011_answer_time"),
        ("operations", "0004_runbook_schema"),
    ]
    operations: ClassVar = [migrations.RunPython(make, drop)]
