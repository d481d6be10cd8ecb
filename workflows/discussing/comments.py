"""Writing comments: words are their author's, and anybody who sees them may resolve them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.db.models import QuerySet

from core import clock
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.texts import storable
from tenants.models import User
from tenants.persons import real_person
from tenants.scope import tenant_scope
from workflows.models import Comment

C = TypeVar("C", bound=Comment)

LONGEST = 4000
MOST_COMMENTS = 1000
"""Comments that one subject holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject(Generic[C]):
    """What is talked about: one row of a tenant's.

    ``model`` is the table of its comments, ``key`` the column of it that points to the row, and the row's id; ``noun``
    is what people call the row.
    """

    tenant_id: uuid.UUID
    model: type[C]
    key: Mapping[str, uuid.UUID]
    noun: str

    @property
    def comments(self) -> QuerySet[C]:
        """All that was said of it. Needs the tenant's scope."""
        return self.model._default_manager.filter(**self.key)


def add(subject: Subject[C], *, text: str, by: User, publish: Callable[[C], None], **about: str) -> C:
    """Say something. ``about`` are columns: the node, and the contents that are compared now.

    ``publish`` is called in the same transaction. Raises ``Invalid`` or ``Conflict``.
    """
    said = _checked(text)
    about["node"] = storable(about.get("node", ""))[:400]
    with tenant_scope(subject.tenant_id):
        if subject.comments.count() >= MOST_COMMENTS:
            raise Conflict(f"A {subject.noun} holds {MOST_COMMENTS:,} comments.", recovery="Delete some of yours.")
        values: dict[str, Any] = {"tenant_id": subject.tenant_id, **subject.key, **about}
        comment = subject.model._default_manager.create(text=said, author_id=real_person(by), **values)
        publish(comment)
    return comment


def edit(subject: Subject[C], *, comment_id: uuid.UUID, text: str, by: User) -> C:
    """Put one's own words differently. Raises ``Forbidden`` for those of somebody else, ``Invalid``, ``NotFound``."""
    said = _checked(text)
    with tenant_scope(subject.tenant_id):
        comment = _own(subject, comment_id, by)
        comment.text, comment.edited_at = said, clock.now()
        comment.save(update_fields=["text", "edited_at", "updated_at"])
    return comment


def delete(subject: Subject[Any], *, comment_id: uuid.UUID, by: User) -> None:
    """Take one's own words back; the trail keeps them. Raises ``Forbidden`` or ``NotFound``."""
    with tenant_scope(subject.tenant_id):
        _own(subject, comment_id, by).delete()


def set_resolved(subject: Subject[C], *, comment_id: uuid.UUID, resolved: bool, by: User) -> C:
    """Say that a comment is settled, or that it is not after all. Said twice, it stays as it was said first."""
    with tenant_scope(subject.tenant_id):
        comment = _locked(subject, comment_id)
        if resolved is (comment.resolved_at is not None):
            return comment
        comment.resolved_at = clock.now() if resolved else None
        comment.resolved_by_id = real_person(by) if resolved else None
        comment.save(update_fields=["resolved_at", "resolved_by", "updated_at"])
    return comment


def change(subject: Subject[Any], *, comment_id: uuid.UUID, text: str | None, resolved: bool | None, by: User) -> None:
    """Either or both, as a program asks for it; None leaves it as it is. Raises ``Invalid`` where nothing is asked."""
    if text is None and resolved is None:
        raise Invalid("Nothing is to be changed.", recovery="Send `text`, `resolved` or both.")
    if text is not None:
        edit(subject, comment_id=comment_id, text=text, by=by)
    if resolved is not None:
        set_resolved(subject, comment_id=comment_id, resolved=resolved, by=by)


def _checked(text: str) -> str:
    said = storable(text).strip()
    if not said:
        raise Invalid("A comment says something.", recovery="Write what you want to say.")
    if len(said) > LONGEST:
        raise Invalid(f"A comment has at most {LONGEST:,} characters.", recovery="Say it in fewer words.")
    return said


def _locked(subject: Subject[C], comment_id: uuid.UUID) -> C:
    found = subject.comments.select_for_update().filter(pk=comment_id).first()
    if found is None:
        raise NotFound
    return found


def _own(subject: Subject[C], comment_id: uuid.UUID, by: User) -> C:
    comment = _locked(subject, comment_id)
    if comment.author_id != real_person(by):
        raise Forbidden("A comment is its author's.", recovery="Answer it with a comment of your own, or resolve it.")
    return comment
