"""What is known of the environment that workflows are restored into."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from workflows.references import CredentialRef, Reference

from .planning import CurrentWorkflow


@dataclass(frozen=True, slots=True)
class CredentialBook:
    """The credentials of the target. ``listed``: n8n itself gave the list, so what is not in it does not exist.

    ``unready`` are stubs whose secret is missing.
    """

    ids: frozenset[tuple[str, str]]
    by_name: Mapping[tuple[str, str], tuple[str, ...]]
    listed: bool
    mapped: Mapping[tuple[str, str], CredentialRef] = field(default_factory=dict)
    unready: frozenset[tuple[str, str]] = frozenset()

    def named(self, reference: Reference) -> tuple[str, ...]:
        """Ids of those of the same type and name."""
        return self.by_name.get((reference.credential_type, reference.name), ())

    def mapping_of(self, reference: Reference) -> CredentialRef | None:
        """What a person has mapped it to."""
        kind = reference.credential_type
        return self.mapped.get((kind, reference.value)) or self.mapped.get((kind, reference.name))

    def has_id_of(self, reference: Reference) -> bool:
        return (reference.credential_type, reference.value) in self.ids


@dataclass(frozen=True, slots=True)
class RestoreTarget:
    """What is known of where the workflows go.

    ``origin`` maps ids in the contents to keys, ``current`` is what lives there now. ``lacks`` names those of some
    types of credential that this n8n does not have; it is asked only where stubs were chosen. ``publishes_callees``:
    a called workflow runs there only where it is published.
    """

    origin: Mapping[str, str]
    current: Mapping[str, CurrentWorkflow]
    book: CredentialBook
    same_environment: bool
    checks_structure: bool = False
    creates_credentials: bool = False
    chooses_ids: bool = False
    publishes_callees: bool = False
    lacks: Callable[[Collection[str]], Collection[str]] = lambda _kinds: ()


def known_by(reference: Reference) -> tuple[str, str]:
    """How ``rewrite`` finds a reference: by its id, or by its name where an old n8n kept no id."""
    return reference.credential_type, reference.value or reference.name
