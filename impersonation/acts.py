"""What the audit trail says in a line of pages that support looked at, asked something of, or was refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.acts import ActName, ActTeller, ActWords, TrailRow
from core.page_names import page_name

#: What was asked of a page speaks only where nothing came of it.
_ASKED = 850
WORDS = (
    ActWords(table="requests", action="READ", words="Viewed {name}", position=_ASKED),
    ActWords(table="requests", action="REFUSED", words="Was refused access to {name}", position=210),
    *(
        ActWords(table="requests", action=action, words="Sent a request to {name}", position=_ASKED)
        for action in ("CREATE", "UPDATE", "DELETE")
    ),
)


def tell(rows: Sequence[TrailRow]) -> Mapping[int, ActName]:
    """The name of the page."""
    return {row.pk: ActName(name=page_name(str(row.details.get("path", "")))) for row in rows}


TELLER = ActTeller(table="requests", tell=tell)
