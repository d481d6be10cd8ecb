"""Credential mapping: which credential replaces which when workflows are promoted to another environment."""

from __future__ import annotations

import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from core import clock
from core.errors import NotFound
from tenants.models import User
from tenants.scope import tenant_scope

from .errors import MappingInvalid
from .identity import record_credentials
from .matching import same_name
from .models import CredentialMapping, Environment, KnownCredential

SHOWN = 500
LONGEST_ID = 64
#: Characters of each value at most.
_LONGEST = {"credential_type": 120, "source_name": 120, "target_name": 120, "target_credential_id": LONGEST_ID}


@dataclass(frozen=True, slots=True)
class CredentialRow:
    """A credential of the source, its mapping to the target, and what it could be mapped to.

    ``state``: mapped, suggested (one of the same type and name is there), ambiguous (several are), open.
    """

    credential_type: str
    name: str
    credential_id: str
    uses: int
    mapping: CredentialMapping | None = None
    suggestion: KnownCredential | None = None
    choices: list[KnownCredential] = field(default_factory=list)
    namesakes: int = 0
    also_named: list[str] = field(default_factory=list)
    is_gone: bool = False

    @property
    def state(self) -> str:
        if self.mapping is not None:
            return "mapped"
        if self.suggestion is not None:
            return "suggested"
        return "ambiguous" if self.namesakes > 1 else "open"


def credential_rows(
    *, source_environment_id: uuid.UUID, target_environment_id: uuid.UUID, limit: int = SHOWN
) -> list[CredentialRow]:
    """The source's credentials, the unresolved ones first. Needs the tenant's scope; three queries."""
    here = KnownCredential.objects.filter(environment_id=source_environment_id).exclude(is_gone=True, uses=0)
    known = list(here.order_by("credential_type", "name")[:limit])
    choices: dict[str, list[KnownCredential]] = defaultdict(list)
    target = KnownCredential.objects.filter(environment_id=target_environment_id, is_gone=False)
    for credential in target.order_by("name")[: limit * 4]:
        choices[credential.credential_type].append(credential)
    mappings = CredentialMapping.objects.filter(
        source_environment_id=source_environment_id, target_environment_id=target_environment_id
    )
    mapped, by_name = {}, {}
    for mapping in mappings:
        if mapping.source_credential_id:
            mapped[mapping.credential_type, mapping.source_credential_id] = mapping
        else:
            by_name[mapping.credential_type, mapping.source_name] = mapping
    rows = []
    for credential in known:
        offered = choices[credential.credential_type]
        called = {same_name(name) for name in (credential.name, *credential.also_named)}
        alike = [c for c in offered if same_name(c.name) in called]
        rows.append(
            CredentialRow(
                credential_type=credential.credential_type,
                name=credential.name,
                credential_id=credential.credential_id,
                uses=credential.uses,
                mapping=mapped.get((credential.credential_type, credential.credential_id))
                or by_name.get((credential.credential_type, credential.name)),
                suggestion=alike[0] if len(alike) == 1 else None,
                choices=offered,
                namesakes=len(alike),
                also_named=list(credential.also_named),
                is_gone=credential.is_gone,
            )
        )
    order = {"open": 0, "ambiguous": 1, "suggested": 2, "mapped": 3}
    return sorted(rows, key=lambda row: order[row.state])


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialPair:
    """A credential of the source and the one of the target that replaces it.

    The source's is known by its id, or by its name where no id is given.
    """

    credential_type: str
    source_name: str
    source_credential_id: str = ""
    target_name: str
    target_credential_id: str

    def cleaned(self) -> CredentialPair:
        """The pair with its values trimmed. Raises ``MappingInvalid`` where one is missing or too long."""
        pair = CredentialPair(
            credential_type=self.credential_type.strip(),
            source_name=self.source_name,
            source_credential_id=self.source_credential_id.strip()[:LONGEST_ID],
            target_name=self.target_name.strip(),
            target_credential_id=self.target_credential_id.strip(),
        )
        faults = {name: ["Needed."] for name in ("credential_type", "target_credential_id") if not getattr(pair, name)}
        for name, longest in _LONGEST.items():
            if len(getattr(pair, name)) > longest:
                faults[name] = ["Too long."]
        if faults:
            raise MappingInvalid(details=faults)
        return pair

    @property
    def known_by(self) -> dict[str, Any]:
        """The fields that tell the source's credential from others of its type."""
        if self.source_credential_id:
            return {"source_credential_id": self.source_credential_id}
        return {"source_credential_id": "", "source_name": self.source_name}


def save_mapping(
    *,
    tenant_id: uuid.UUID,
    source_environment_id: uuid.UUID,
    target_environment_id: uuid.UUID,
    pair: CredentialPair,
    by: User | None,
) -> CredentialMapping:
    """Map one credential, or map it to another one. Raises ``MappingInvalid`` or ``NotFound``."""
    pair = pair.cleaned()
    if source_environment_id == target_environment_id:
        raise MappingInvalid(details={"target_environment": ["Choose two different environments."]})
    with tenant_scope(tenant_id):
        wanted = {source_environment_id, target_environment_id}
        if Environment.objects.filter(pk__in=wanted).count() != len(wanted):
            raise NotFound
        mapping, _ = CredentialMapping.objects.update_or_create(
            tenant_id=tenant_id,
            source_environment_id=source_environment_id,
            target_environment_id=target_environment_id,
            credential_type=pair.credential_type,
            **pair.known_by,
            defaults={
                "source_name": pair.source_name,
                "target_name": pair.target_name,
                "target_credential_id": pair.target_credential_id,
                "created_by": by,
            },
        )
        return mapping


def accept_suggestions(
    *, tenant_id: uuid.UUID, source_environment_id: uuid.UUID, target_environment_id: uuid.UUID, by: User | None
) -> int:
    """Map every credential that has exactly one of its type and name on the other side; how many."""
    with tenant_scope(tenant_id):
        rows = credential_rows(source_environment_id=source_environment_id, target_environment_id=target_environment_id)
        suggested = [(row, row.suggestion) for row in rows if row.state == "suggested" and row.suggestion]
        for row, suggestion in suggested:
            pair = CredentialPair(
                credential_type=row.credential_type,
                source_name=row.name,
                source_credential_id=row.credential_id,
                target_name=suggestion.name,
                target_credential_id=suggestion.credential_id,
            )
            save_mapping(
                tenant_id=tenant_id,
                source_environment_id=source_environment_id,
                target_environment_id=target_environment_id,
                pair=pair,
                by=by,
            )
        return len(suggested)


def delete_mapping(*, tenant_id: uuid.UUID, mapping_id: uuid.UUID) -> None:
    """Delete a mapping. Raises ``NotFound`` where there is none."""
    with tenant_scope(tenant_id):
        deleted, _ = CredentialMapping.objects.filter(pk=mapping_id).delete()
        if not deleted:
            raise NotFound


def enter_credential(
    *, tenant_id: uuid.UUID, environment_id: uuid.UUID, credential_type: str, name: str, credential_id: str
) -> None:
    """Record a credential that no workflow uses yet and that n8n does not list.

    Raises ``MappingInvalid`` or ``NotFound``.
    """
    kind, label, wanted_id = credential_type.strip(), name.strip(), credential_id.strip()
    too_long = len(kind) > 120 or len(label) > 200 or len(wanted_id) > LONGEST_ID
    if not kind or not wanted_id or too_long:
        raise MappingInvalid("A credential needs its type and its id, as n8n shows them.")
    with tenant_scope(tenant_id):
        if not Environment.objects.filter(pk=environment_id).exists():
            raise NotFound
        record_credentials(
            tenant_id=tenant_id,
            environment_id=environment_id,
            used=[(kind, label or wanted_id, wanted_id)],
            seen_at=clock.now(),
            complete=False,
            source="entered",
        )
