"""What was said of a promotion and who has viewed it, for pages and the API. Needs the tenant's scope."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from promotions.models import Promotion, ReviewComment, ReviewMark
from promotions.planning.documents import PlanItem
from workflows.discussing.reading import Discussion, comments_of

from .comments import subject_of


@dataclass(frozen=True, slots=True)
class Dropped:
    """A workflow that was commented on and is no longer in the plan."""

    name: str
    discussion: Discussion


@dataclass(frozen=True, slots=True)
class Review:
    """Of a whole promotion: comments and valid marks, by the workflow's key."""

    comments: dict[str, list[ReviewComment]]
    viewers: dict[str, list[ReviewMark]]
    reader: uuid.UUID | None = None

    @property
    def unresolved(self) -> int:
        return sum(comment.resolved_at is None for found in self.comments.values() for comment in found)

    @property
    def viewed_by_reader(self) -> frozenset[str]:
        """Keys of the workflows that whoever looks has viewed."""
        return frozenset(
            key for key, marks in self.viewers.items() if any(mark.reviewer_id == self.reader for mark in marks)
        )


def marks_of(promotion_id: uuid.UUID, items: Iterable[PlanItem]) -> list[ReviewMark]:
    """Marks that hold for the contents that are planned now."""
    planned = {item.key: (item.expected_hash or "", item.wanted_hash) for item in items}
    found = ReviewMark.objects.filter(promotion_id=promotion_id).select_related("reviewer")
    return [mark for mark in found if planned.get(mark.workflow_key) == (mark.before_hash, mark.after_hash)]


def review_of(promotion: Promotion, items: Sequence[PlanItem], *, reader: uuid.UUID | None) -> Review:
    """All of it, for the promotion's page."""
    review = Review({}, {}, reader)
    for comment in comments_of(subject_of(promotion)):
        review.comments.setdefault(comment.workflow_key, []).append(comment)
    for mark in marks_of(promotion.pk, items):
        review.viewers.setdefault(mark.workflow_key, []).append(mark)
    return review
