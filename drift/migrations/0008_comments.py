"""Comments on what drifted."""

import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from tenants.rls import protect

OF_A_TENANT = {"db_index": False, "on_delete": django.db.models.deletion.CASCADE, "related_name": "+"}
A_PERSON = {"on_delete": django.db.models.deletion.SET_NULL, "related_name": "+", "to": settings.AUTH_USER_MODEL}


class Migration(migrations.Migration):
    dependencies = [
        ("drift", "0007_emergency_stop"),
        ("tenants", "0010_people_secured"),
    ]

    operations = [
        migrations.CreateModel(
            name="IncidentComment",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("node", models.CharField(blank=True, max_length=400)),
                ("text", models.TextField()),
                ("before_hash", models.CharField(blank=True, max_length=80)),
                ("after_hash", models.CharField(blank=True, max_length=80)),
                ("resolved_at", models.DateTimeField(blank=True, null=True)),
                ("edited_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("author", models.ForeignKey(null=True, **A_PERSON)),
                ("incident", models.ForeignKey(to="drift.driftincident", **OF_A_TENANT)),
                ("resolved_by", models.ForeignKey(blank=True, null=True, **A_PERSON)),
                ("tenant", models.ForeignKey(to="tenants.tenant", **OF_A_TENANT)),
            ],
            options={
                "db_table": "incident_comments",
                "ordering": ["created_at", "id"],
                "abstract": False,
                "indexes": [
                    models.Index(fields=["tenant", "incident", "created_at", "id"], name="incident_comments_incident")
                ],
            },
        ),
        protect("incident_comments", parents={"incident_id": "drift_incidents"}),
    ]
