import uuid
from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models

from tenants.rls import protect


class Migration(migrations.Migration):
    dependencies: ClassVar = [("tenants", "0002_privileges")]
    operations: ClassVar = [
        migrations.CreateModel(
            name="Bottle",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=80)),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="tenants.tenant"
                    ),
                ),
            ],
            options={"db_table": "sample_bottles"},
        ),
        protect("sample_bottles"),
    ]
