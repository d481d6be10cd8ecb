"""The choices that a promotion is planned with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import models

from core.documents import Document
from core.errors import Invalid


class ActivePolicy(models.TextChoices):
    """What becomes of 'active' in the target."""

    KEEP = "keep", "Keep as it is in the target; new workflows stay unpublished"
    COPY = "copy", "As in the source"
    INACTIVE = "inactive", "Unpublish all that is promoted"


class SourceVersion(models.TextChoices):
    """Which version of a published workflow of the source is promoted."""

    PUBLISHED = "published", "What is published in the source"
    DRAFT = "draft", "The drafts in the source's editor"


class Options(Document, frozen=True, kw_only=True):
    """``include_required`` adds sub-workflows that the target lacks; ``require_approval`` asks for one everywhere.

    ``repair`` removes what n8n refuses and nothing needs: connections to nodes that are not there.
    """

    active: str = ActivePolicy.KEEP.value
    version: str = SourceVersion.PUBLISHED.value
    include_required: bool = True
    require_approval: bool = False
    repair: bool = False

    @classmethod
    def read(cls, data: Mapping[str, Any] | None) -> Options:
        """From a request or a row. Raises ``Invalid`` for unknown names and values: a typing error is no default."""
        given = dict(data or {})
        unknown = sorted(set(given) - set(NAMES))
        if unknown:
            raise Invalid(f"Unknown options: {', '.join(unknown)}.", details={"unknown": unknown})
        texts = {name: _one_of(name, given.get(name), known) for name, known in _CHOICES.items()}
        switches = {name: _switch(name, given[name]) for name in _SWITCHES if name in given}
        return cls.from_json({**texts, **switches})


_CHOICES: dict[str, type[models.TextChoices]] = {"active": ActivePolicy, "version": SourceVersion}
_SWITCHES = ("include_required", "require_approval", "repair")
NAMES = (*_CHOICES, *_SWITCHES)


def _one_of(name: str, given: Any, known: type[models.TextChoices]) -> str:
    chosen = str(given or known.values[0])
    if chosen not in known.values:
        raise Invalid(f"“{name}” is one of {', '.join(known.values)}.", details={name: chosen})
    return chosen


def _switch(name: str, given: Any) -> bool:
    if not isinstance(given, bool):
        raise Invalid(f"“{name}” is true or false.", details={name: str(given)[:100]})
    return given
