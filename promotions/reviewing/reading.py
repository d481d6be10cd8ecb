"""What was said of a promotion and who has viewed it, for pages and the API. Needs the tenant's scope."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db.models import Count, Max

from promotions.models import ReviewComment, ReviewMark
from promotions.planning.documents import PlanItem


@dataclass(frozen=True, slots=True)
class Thread:
    """What was said of one node."""

    node: str
    comments: Sequence[ReviewComment]


@dataclass(frozen=True, slots=True)
class Discussion:
    """Comments on one workflow, oldest first. ``reader`` is who looks, ``url`` where forms are sent.

    The hashes are what is compared now; ``ident`` tells its parts of a page from those of other workflows; where it
    ``is_closed`` nothing more is said. ``template`` draws what was said of one node, ``follower`` asks for what is
    said later.
    """

    comments: Sequence[ReviewComment] = ()
    reader: uuid.UUID | None = None
    url: str = ""
    before_hash: str = ""
    after_hash: str = ""
    ident: str = ""
    is_closed: bool = False
    template: str = "promotions/_thread.html"
    follower: str = "promotions/_follower.html"

    @property
    def unresolved(self) -> int:
        return sum(comment.resolved_at is None for comment in self.comments)

    @property
    def on_nodes(self) -> list[Thread]:
        """What was said of single nodes, by node."""
        return [Thread(node, self.of(node)) for node in dict.fromkeys(c.node for c in self.comments) if node]

    @property
    def threads(self) -> list[Thread]:
        """All that was said, of the whole workflow first."""
        whole = self.of("")
        return [*([Thread("", whole)] if whole else []), *self.on_nodes]

    def of(self, node: str) -> list[ReviewComment]:
        """What was said of a node; '' for the whole workflow."""
        return [comment for comment in self.comments if comment.node == node]


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


def comments_of(promotion_id: uuid.UUID, *, workflow_key: str = "") -> list[ReviewComment]:
    """What was said, oldest first; of one workflow, or of all."""
    found = ReviewComment.objects.filter(promotion_id=promotion_id).select_related("author", "resolved_by")
    return list(found.filter(workflow_key=workflow_key) if workflow_key else found)


def marks_of(promotion_id: uuid.UUID, items: Iterable[PlanItem]) -> list[ReviewMark]:
    """Marks that hold for the contents that are planned now."""
    planned = {item.key: (item.expected_hash or "", item.wanted_hash) for item in items}
    found = ReviewMark.objects.filter(promotion_id=promotion_id).select_related("reviewer")
    return [mark for mark in found if planned.get(mark.workflow_key) == (mark.before_hash, mark.after_hash)]


def review_of(promotion_id: uuid.UUID, items: Sequence[PlanItem], *, reader: uuid.UUID | None) -> Review:
    """All of it, for the promotion's page."""
    review = Review({}, {}, reader)
    for comment in comments_of(promotion_id):
        review.comments.setdefault(comment.workflow_key, []).append(comment)
    for mark in marks_of(promotion_id, items):
        review.viewers.setdefault(mark.workflow_key, []).append(mark)
    return review


def stamp_of(promotion_id: uuid.UUID) -> str:
    """Changes whenever a comment comes, goes or changes."""
    found = ReviewComment.objects.filter(promotion_id=promotion_id).aggregate(
        number=Count("pk"), last=Max("updated_at")
    )
    return f"{found['number']}.{found['last'].timestamp():.6f}" if found["number"] else "0"
