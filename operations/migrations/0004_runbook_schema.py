"""A schema that the operator's role looks into first: names that runbooks use and PostgreSQL spells otherwise."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("operations", "0003_heartbeat")]

    operations = [
        migrations.RunSQL(
            [
                "CREATE SCHEMA IF NOT EXISTS runbook",
                "CREATE VIEW runbook.pg_stat_user_tables WITH (security_invoker = true) AS"
                " SELECT *, relname AS tablename FROM pg_catalog.pg_stat_user_tables",
                "GRANT USAGE ON SCHEMA runbook TO opsconsole_operator",
                "GRANT SELECT ON runbook.pg_stat_user_tables TO opsconsole_operator",
            ],
            ["DROP SCHEMA runbook CASCADE"],
        )
    ]
