"""Rows that name no commit are looked for every few seconds, and there is hardly ever one."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("snapshots", "0003_hash_version_and_rehearsals")]
    operations: ClassVar = [
        migrations.AddIndex(
            model_name="snapshot",
            index=models.Index(
                fields=["-created_at"], condition=models.Q(git_commit_sha=None), name="snapshots_no_commit"
            ),
        )
    ]
