"""Comments on the changes of a promotion, and who has viewed them."""

import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from tenants.rls import protect

OF_A_TENANT = {"db_index": False, "on_delete": django.db.models.deletion.CASCADE, "related_name": "+"}
A_PERSON = {"on_delete": django.db.models.deletion.SET_NULL, "related_name": "+", "to": settings.AUTH_USER_MODEL}


class Migration(migrations.Migration):
    dependencies = [
        ("promotions", "0003_attention"),
        ("tenants", "0010_people_secured"),
    ]

    operations = [
        migrations.CreateModel(
            name="ReviewComment",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("workflow_key", models.CharField(max_length=200)),
                ("node", models.CharField(blank=True, max_length=400)),
                ("text", models.TextField()),
                ("before_hash", models.CharField(blank=True, max_length=80)),
                ("after_hash", models.CharField(blank=True, max_length=80)),
                ("resolved_at", models.DateTimeField(blank=True, null=True)),
                ("edited_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("author", models.ForeignKey(null=True, **A_PERSON)),
                ("promotion", models.ForeignKey(to="promotions.promotion", **OF_A_TENANT)),
                ("resolved_by", models.ForeignKey(blank=True, null=True, **A_PERSON)),
                ("tenant", models.ForeignKey(to="tenants.tenant", **OF_A_TENANT)),
            ],
            options={
                "db_table": "review_comments",
                "ordering": ["created_at", "id"],
                "indexes": [
                    models.Index(fields=["tenant", "promotion", "created_at", "id"], name="review_comments_promotion")
                ],
            },
        ),
        migrations.CreateModel(
            name="ReviewMark",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("workflow_key", models.CharField(max_length=200)),
                ("before_hash", models.CharField(blank=True, max_length=80)),
                ("after_hash", models.CharField(blank=True, max_length=80)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("promotion", models.ForeignKey(to="promotions.promotion", **OF_A_TENANT)),
                (
                    "reviewer",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                ("tenant", models.ForeignKey(to="tenants.tenant", **OF_A_TENANT)),
            ],
            options={
                "db_table": "review_marks",
                "ordering": ["created_at", "id"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "promotion", "workflow_key", "reviewer"), name="review_marks_once"
                    )
                ],
            },
        ),
        protect("review_comments", parents={"promotion_id": "promotions"}),
        protect("review_marks", parents={"promotion_id": "promotions"}),
    ]
