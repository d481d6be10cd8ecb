"""The order in which consumers read: given to events once they have committed.

Transaction numbers are no such order. A transaction gets its number with its first write, and may then wait for
another that began later: ordered by number, *ended* would come before *approved*. And what reads below the oldest
running transaction stands still as long as one is open anywhere. So the order is written down: one pass at a time
numbers what has committed and has no number yet, in the order of publishing. What a transaction has seen committed
before it published has been numbered before, or is numbered lower in the same pass.
"""

from __future__ import annotations

from django.db import connection

from tenants.scope import platform_scope

from .models import OutboxOrder

SEQUENCED_AT_ONCE = 5_000

_GIVE = """
WITH waiting AS (
    SELECT id, row_number() OVER (ORDER BY position) AS place
      FROM (SELECT id, position FROM outbox_events WHERE sequence IS NULL ORDER BY position LIMIT %s) AS oldest
)
UPDATE outbox_events e SET sequence = %s + waiting.place FROM waiting WHERE e.id = waiting.id
"""


def sequence() -> int:
    """Number everything that has committed; how many. Nothing where somebody else is numbering right now."""
    total = 0
    while count := _sequence_some():
        total += count
        if count < SEQUENCED_AT_ONCE:
            break
    return total


def _sequence_some() -> int:
    with platform_scope():
        OutboxOrder.objects.get_or_create(pk=1)
        order = OutboxOrder.objects.select_for_update(skip_locked=True).filter(pk=1).first()
        if order is None:
            return 0
        # A statement of its own: its snapshot is taken after the lock, and sees what the last holder has numbered.
        with connection.cursor() as cursor:
            cursor.execute(_GIVE, [SEQUENCED_AT_ONCE, order.last_sequence])
            count = int(cursor.rowcount)
        if count:
            OutboxOrder.objects.filter(pk=1).update(last_sequence=order.last_sequence + count)
        return count
