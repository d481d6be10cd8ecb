"""Row security for events; cursors and the order are the platform's alone; the trail sees what is parked and by whom
it is settled."""

from typing import ClassVar

from django.db import migrations

from tenants.rls import platform_parent, protect

PLATFORM_ONLY = [
    sql
    for table in ("outbox_cursors", "outbox_order")
    for sql in (
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO opsconsole_platform",
        f"GRANT SELECT ON {table} TO opsconsole_platform_readonly, opsconsole_operator",
    )
]


class Migration(migrations.Migration):
    dependencies: ClassVar = [
        ("outbox", "0001_initial"),
        ("tenants", "0002_privileges"),
        ("audit", "0002_trail"),
    ]
    operations: ClassVar = [
        protect("outbox_events", trail=False, nullable=True),
        protect("outbox_delays", trail=False, nullable=True),
        protect(
            "outbox_parked_events",
            parents={"event_id": "outbox_events"},
            watch=("retry_requested_at",),
            nullable=True,
        ),
        platform_parent("outbox_parked_events", "event_id", "outbox_events"),
        migrations.RunSQL(PLATFORM_ONLY, migrations.RunSQL.noop),
    ]
