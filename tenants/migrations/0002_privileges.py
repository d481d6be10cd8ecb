"""Row-level security and privileges for people and tenants, and privileges on the tables of Django and its packages."""

from django.db import migrations

from tenants.rls import drop_trail_trigger, grant, protect, trail_trigger

PACKAGE_TABLES = [
    "django_content_type",
    "django_admin_log",
    "django_session",
    "auth_permission",
    "auth_group",
    "auth_group_permissions",
    "users_groups",
    "users_user_permissions",
    "guardian_userobjectpermission",
    "guardian_groupobjectpermission",
    "account_emailaddress",
    "account_emailconfirmation",
    "mfa_authenticator",
]


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0001_initial"),
        ("audit", "0002_trail"),
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("sessions", "0001_initial"),
        ("guardian", "0003_remove_groupobjectpermission_guardian_gr_content_ae6aec_idx_and_more"),
        ("auditlog", "0017_add_actor_email"),
        ("account", "0009_emailaddress_unique_primary_email"),
        ("mfa", "0003_authenticator_type_uniq"),
    ]

    operations = [
        migrations.RunSQL(
            "GRANT USAGE ON SCHEMA public TO opsconsole_tenant, opsconsole_platform, opsconsole_readonly, opsconsole_app, opsconsole_operator",
            migrations.RunSQL.noop,
        ),
        *[grant(table) for table in PACKAGE_TABLES],
        grant("django_migrations", app="SELECT"),
        grant("users", operator="SELECT, INSERT, UPDATE, DELETE"),
        grant("platform_admins", operator="SELECT, INSERT, UPDATE, DELETE"),
        grant("user_sessions", operator="SELECT, DELETE"),
        protect("memberships"),
        protect("tenants", tenant_column="id"),
        protect("tenant_grants", tenant_column="content_object_id"),
        protect("api_tokens"),
        migrations.RunSQL(
            [
                trail_trigger("users", tenant_column=""),
                trail_trigger("platform_admins", key="user_id", tenant_column=""),
            ],
            [drop_trail_trigger("users"), drop_trail_trigger("platform_admins")],
        ),
        migrations.RunSQL(
            "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO opsconsole_tenant, opsconsole_platform, opsconsole_app, opsconsole_operator",
            migrations.RunSQL.noop,
        ),
    ]
