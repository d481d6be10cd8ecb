"""Since when a job's phase is under way, and from where, leaves no row in the trail: it moves with the progress."""

from typing import ClassVar

from django.db import migrations

from audit import triggers


class Migration(migrations.Migration):
    dependencies: ClassVar = [("audit", "0009_seals_in_their_place"), ("operations", "0010_progress_of_a_phase")]
    operations: ClassVar = [
        migrations.RunSQL([triggers.record_write_sql(), triggers.record_events_sql()], migrations.RunSQL.noop)
    ]
