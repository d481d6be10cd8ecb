"""The roles that only read do not read the keys of sign-ins: each key opens its person's account."""

from typing import ClassVar

from django.db import migrations


class Migration(migrations.Migration):
    dependencies: ClassVar = [("tenants", "0004_git_remote_by_ssh")]
    operations: ClassVar = [
        migrations.RunSQL(
            "REVOKE SELECT ON user_sessions FROM opsconsole_readonly, opsconsole_platform_readonly",
            "GRANT SELECT ON user_sessions TO opsconsole_readonly, opsconsole_platform_readonly",
        )
    ]
