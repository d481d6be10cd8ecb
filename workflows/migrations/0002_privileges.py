"""Row-level security for environments and everything in them."""

from django.db import migrations

from tenants.rls import protect


class Migration(migrations.Migration):
    dependencies = [("workflows", "0001_initial"), ("tenants", "0002_privileges")]

    operations = [
        protect("environments"),
        protect("canonical_workflows"),
        protect(
            "workflow_env_map",
            parents={"environment_id": "environments", "canonical_workflow_id": "canonical_workflows"},
            # What was seen changes with every capture; what is approved, linked or taken away is a decision.
            watch=("git_content_hash", "status", "canonical_workflow_id"),
        ),
        protect(
            "credential_mappings",
            parents={"source_environment_id": "environments", "target_environment_id": "environments"},
        ),
        protect("known_credentials", parents={"environment_id": "environments"}, trail=False),
        protect("executions", parents={"environment_id": "environments"}, trail=False),
        protect("environment_grants", parents={"content_object_id": "environments"}),
        migrations.RunSQL(
            "GRANT USAGE ON SEQUENCE environment_grants_id_seq TO opsconsole_tenant, opsconsole_platform, opsconsole_app",
            migrations.RunSQL.noop,
        ),
    ]
