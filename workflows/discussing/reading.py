"""What was said, for pages and the API. Needs the tenant's scope."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Max

from workflows.graph_overlay import anchor_of
from workflows.models import Comment

from .comments import C, Subject


@dataclass(frozen=True, slots=True)
class Thread:
    """What was said of one node; '' is the whole workflow."""

    node: str
    comments: Sequence[Comment]


@dataclass(frozen=True, slots=True)
class Discussion:
    """Comments on one workflow, oldest first. ``reader`` is who looks, ``url`` where forms are sent.

    The hashes are what is compared now; ``ident`` tells its parts of a page from those of other workflows; where it
    ``is_closed`` nothing more is said. A page that hears of what others say has ``follower`` ask for it.
    """

    comments: Sequence[Comment] = ()
    reader: uuid.UUID | None = None
    url: str = ""
    before_hash: str = ""
    after_hash: str = ""
    ident: str = ""
    is_closed: bool = False
    follower: str = ""

    @property
    def unresolved(self) -> int:
        return sum(comment.resolved_at is None for comment in self.comments)

    @property
    def on_nodes(self) -> list[Thread]:
        """What was said of single nodes, by node."""
        return [self.thread(node) for node in dict.fromkeys(comment.node for comment in self.comments) if node]

    @property
    def threads(self) -> list[Thread]:
        """All that was said, of the whole workflow first."""
        whole = self.thread("")
        return [*([whole] if whole.comments else []), *self.on_nodes]

    def of(self, node: str) -> list[Comment]:
        """What was said of a node; '' for the whole workflow."""
        return [comment for comment in self.comments if comment.node == node]

    def thread(self, node: str) -> Thread:
        """What was said of a node, with its name."""
        return Thread(node, self.of(node))

    def beside(self, drawn: Collection[str], *, offered: Iterable[str] = ()) -> list[Thread]:
        """Threads that no part of the page carries: of ``offered`` nodes, then of what else was commented on."""
        nodes = dict.fromkeys([*offered, *(thread.node for thread in self.on_nodes)])
        return [self.thread(node) for node in nodes if node and node not in drawn]

    def at(self, anchors: Collection[str], *, nodes: Iterable[str] = ()) -> list[Thread]:
        """Threads of what a page draws, also where nothing is said any more; ``nodes`` may have been commented on."""
        names = dict.fromkeys(["", *nodes, *(thread.node for thread in self.threads)])
        return [self.thread(node) for node in names if anchor_of(node) in anchors]


def comments_of(subject: Subject[C], **narrowed: Any) -> list[C]:
    """What was said, oldest first."""
    return list(subject.comments.filter(**narrowed).select_related("author", "resolved_by"))


def comment_of(subject: Subject[C], comment_id: uuid.UUID) -> C:
    """One comment, with its people."""
    return subject.comments.select_related("author", "resolved_by").get(pk=comment_id)


def stamp_of(subject: Subject[Any]) -> str:
    """Changes whenever a comment comes, goes or changes."""
    found = subject.comments.aggregate(number=Count("pk"), last=Max("updated_at"))
    return f"{found['number']}.{found['last'].timestamp():.6f}" if found["number"] else "0"
