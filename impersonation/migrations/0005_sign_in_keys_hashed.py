"""A session's sign-in is looked for by the digest that the table of sign-ins holds now."""

from typing import ClassVar

from django.db import migrations

from impersonation.sql import HOLD, READ, STANDS

FORWARD = [text.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1) for text in (READ, HOLD, STANDS)]


class Migration(migrations.Migration):
    dependencies: ClassVar = [("impersonation", "0004_what_ends_with_it"), ("tenants", "0007_sign_in_keys_hashed")]
    operations: ClassVar = [migrations.RunSQL(FORWARD, migrations.RunSQL.noop)]
