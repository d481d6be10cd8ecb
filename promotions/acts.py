"""What the audit trail says of promotions in a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.acts import ActName, ActTeller, ActWords, TrailRow
from core.wording import counted

from .models import Promotion, PromotionStatus

_BECAME = (
    (PromotionStatus.COMPLETED, "Promoted {name}", "completed"),
    (PromotionStatus.ROLLED_BACK, "Rolled back {name}", "rolled-back"),
    (PromotionStatus.FAILED, "Failed to promote {name}", "failed"),
    (PromotionStatus.RUNNING, "Began to promote {name}", "running"),
    (PromotionStatus.CANCELLED, "Cancelled {name}", "cancelled"),
    (PromotionStatus.PENDING_APPROVAL, "Asked for approval of {name}", "parked"),
    # Where nobody had to approve it; else the approval speaks.
    (PromotionStatus.APPROVED, "Locked the plan of {name}", ""),
    (PromotionStatus.DRAFT, "Took {name} back to its draft", "moved"),
)
WORDS = (
    *(
        ActWords(table="promotions", action="UPDATE", status=str(status), words=words, state=state, position=20 + place)
        for place, (status, words, state) in enumerate(_BECAME)
    ),
    ActWords(table="promotions", action="promotion.approve", words="Approved {name}", position=10),
    ActWords(table="promotions", action="promotion.reject", words="Rejected {name}", state="failed", position=10),
    ActWords(table="promotions", action="promotion.release", words="Released the target of {name}", position=10),
    ActWords(table="promotions", action="CREATE", words="Drafted {name}", position=30),
    ActWords(table="promotions", action="UPDATE", words="Changed {name}", position=95),
)


def tell(rows: Sequence[TrailRow]) -> Mapping[int, ActName]:
    """“Release 35 into Production”, and of how many workflows."""
    found = Promotion.objects.select_related("target_environment").only(
        "name", "workflow_keys", "target_environment__name"
    )
    names = {
        promotion.pk: ActName(
            name=f"{promotion.name} into {promotion.target_environment.name}",
            more=counted(len(promotion.workflow_keys), "workflow"),
        )
        for promotion in found.filter(pk__in={row.resource_id for row in rows if row.resource_id})
    }
    return {row.pk: names[row.resource_id] for row in rows if row.resource_id in names}


TELLER = ActTeller(table="promotions", tell=tell)
