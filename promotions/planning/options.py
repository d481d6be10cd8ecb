"""The choices that a promotion is planned with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from django.db import models

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


@dataclass(frozen=True, slots=True)
class Options:
    """``include_required`` adds sub-workflows that the target lacks; ``require_approval`` asks for one everywhere.

    ``repair`` takes away what n8n refuses and nothing needs: connections to nodes that are not there.
    """

    active: str = ActivePolicy.KEEP.value
    version: str = SourceVersion.PUBLISHED.value
    include_required: bool = True
    require_approval: bool = False
    repair: bool = False

    @classmethod
    def read(cls, data: Mapping[str, Any] | None) -> Options:
        """From JSON; unknown names and values are refused, so that a typing error is not taken for a default."""
        given = dict(data or {})
        unknown = sorted(set(given) - {"active", "version", "include_required", "require_approval", "repair"})
        if unknown:
            raise Invalid(f"Unknown options: {', '.join(unknown)}.", details={"unknown": unknown})
        active = str(given.get("active") or ActivePolicy.KEEP)
        if active not in ActivePolicy.values:
            raise Invalid(f"“active” is one of {', '.join(ActivePolicy.values)}.", details={"active": active})
        version = str(given.get("version") or SourceVersion.PUBLISHED)
        if version not in SourceVersion.values:
            raise Invalid(f"“version” is one of {', '.join(SourceVersion.values)}.", details={"version": version})
        switches = ("include_required", "require_approval", "repair")
        vague = [n for n in switches if not isinstance(given.get(n, False), bool)]
        if vague:
            raise Invalid(f"“{vague[0]}” is true or false.", details={vague[0]: str(given[vague[0]])[:100]})
        return cls(
            active=active,
            version=version,
            include_required=bool(given.get("include_required", True)),
            require_approval=bool(given.get("require_approval", False)),
            repair=bool(given.get("repair", False)),
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
