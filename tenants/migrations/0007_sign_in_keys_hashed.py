"""The keys of sign-ins are kept as digests: who reads the table cannot sign in with what it holds."""

from typing import ClassVar

from django.db import migrations, models

HASH = (
    "UPDATE user_sessions SET session_key = encode(sha256(convert_to(session_key, 'UTF8')), 'hex')"
    " WHERE length(session_key) < 64"
)


class Migration(migrations.Migration):
    dependencies: ClassVar = [("tenants", "0006_platform_admins_secured")]
    operations: ClassVar = [
        migrations.AlterField(
            model_name="usersession",
            name="session_key",
            field=models.CharField(max_length=64, primary_key=True, serialize=False),
        ),
        # Backwards everybody signs in anew.
        migrations.RunSQL(HASH, "DELETE FROM user_sessions"),
    ]
