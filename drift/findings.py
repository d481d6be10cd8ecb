"""What is not as approved, read off the rows of the workflow mapping alone: contents stay in Git."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from django.db.models import F, Q

from workflows.content import LiveVersion
from workflows.facts import FactChange, changes, loaded_facts
from workflows.models import Environment, MapStatus, WorkflowEnvMap

from .describing import DriftFinding
from .models import DriftKind


def findings_of(environment: Environment) -> list[DriftFinding]:
    """Every aspect of every workflow of the environment that is not as approved. Needs the tenant's scope."""
    mappings = (
        WorkflowEnvMap.objects.filter(_differs(), environment_id=environment.pk)
        .exclude(status__in=[MapStatus.IGNORED, MapStatus.DELETED])
        .select_related("canonical_workflow")
        .defer("fingerprint", "git_fingerprint")
        .order_by("pk")
    )
    return [finding for mapping in mappings for finding in _findings(mapping, environment.learnt_settings)]


def _differs() -> Q:
    """The mappings that may drift: those whose two sides are not equal."""
    both = Q(git_content_hash__isnull=False, env_content_hash__isnull=False)
    return (
        Q(status=MapStatus.MISSING, git_content_hash__isnull=False)
        | Q(git_content_hash__isnull=True, env_content_hash__isnull=False)
        | (both & ~Q(git_content_hash=F("env_content_hash")))
        | (Q(git_active__isnull=False, env_active__isnull=False) & ~Q(git_active=F("env_active")))
        | (both & _apart("git_draft_hash", "env_draft_hash"))
        | Q(git_facts__isnull=False, env_facts__isnull=False) & ~Q(git_facts=F("env_facts"))
    )


def _apart(first: str, second: str) -> Q:
    """Where two columns differ, nulls being values."""
    return (
        Q(**{f"{first}__isnull": True, f"{second}__isnull": False})
        | Q(**{f"{first}__isnull": False, f"{second}__isnull": True})
        | Q(**{f"{first}__isnull": False, f"{second}__isnull": False}) & ~Q(**{first: F(second)})
    )


def _findings(mapping: WorkflowEnvMap, defaults: Mapping[str, Any]) -> Iterator[DriftFinding]:
    is_active = bool(mapping.env_active)
    was_active = is_active if mapping.git_active is None else mapping.git_active
    workflow = mapping.canonical_workflow
    finding = partial(
        DriftFinding,
        map_id=mapping.pk,
        key=workflow.key,
        name=mapping.env_name or workflow.name or workflow.key,
        git_hash=mapping.git_content_hash,
        env_hash=mapping.env_content_hash,
        was_active=was_active,
        is_active=is_active,
    )
    if mapping.status == MapStatus.MISSING:
        yield finding(kind=str(DriftKind.REMOVED), env_hash=None, is_active=False)
    elif mapping.git_content_hash is None:
        yield finding(kind=str(DriftKind.ADDED), was_active=False)
    else:
        facts = _facts_apart(mapping, defaults)
        yield from _of_what_runs(mapping, finding, facts, switched=was_active != is_active)
        yield from _beside_what_runs(mapping, finding, facts)


def _of_what_runs(
    mapping: WorkflowEnvMap, finding: partial[DriftFinding], facts: Sequence[FactChange], *, switched: bool
) -> Iterator[DriftFinding]:
    """The content, or else whether it runs; n8n unpublishes what it archives, which is a finding of its own."""
    if mapping.git_content_hash != mapping.env_content_hash:
        yield finding(kind=str(DriftKind.MODIFIED), live=_version(mapping.live_version))
    elif switched and not any(change.kind == "archived" for change in facts):
        yield finding(kind=str(DriftKind.ACTIVATION))


def _beside_what_runs(
    mapping: WorkflowEnvMap, finding: partial[DriftFinding], facts: Sequence[FactChange]
) -> Iterator[DriftFinding]:
    """The archive, the draft, and details."""
    archived = tuple(change for change in facts if change.kind == "archived")
    details = tuple(change for change in facts if change.kind != "archived")
    if archived:
        yield finding(kind=str(DriftKind.ARCHIVED), details=archived, env_facts=mapping.env_facts)
    if mapping.git_draft_hash != mapping.env_draft_hash:
        yield finding(
            kind=str(DriftKind.DRAFT),
            git_draft=mapping.git_draft_hash,
            env_draft=mapping.env_draft_hash,
            live=_version(mapping.draft_version if mapping.draft_authors else None),
        )
    if details:
        yield finding(kind=str(DriftKind.DETAILS), details=details, env_facts=mapping.env_facts)


def _version(stored: Mapping[str, Any] | None) -> LiveVersion | None:
    return msgspec.convert(stored, LiveVersion) if stored else None


def _facts_apart(mapping: WorkflowEnvMap, defaults: Mapping[str, Any]) -> list[FactChange]:
    approved, seen = loaded_facts(mapping.git_facts), loaded_facts(mapping.env_facts)
    return changes(approved, seen, defaults=defaults) if approved is not None and seen is not None else []
