"""The versions of a workflow that a page lays side by side, and the words by which addresses name them.

``snapshot:<id>`` is what a snapshot holds, ``snapshot-draft:<id>`` the drafts of it, ``git:<env>@<commit>`` what was
approved by that commit, ``git-draft:<env>@<commit>`` the drafts approved with it: these mean the same for ever.
``<env>`` (as last seen), ``draft:<env>`` and ``git:<env>`` mean what they name today; ``for_good`` says what that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.errors import NotFound
from tenants.pages import Visit
from tenants.scope import tenant_scope
from workflows.content import parse
from workflows.models import Environment
from workflows.presenters import DiffSide, TextOptions, diff_context, three_way_context

from . import services
from .approved_versions import approved_at, last_approval
from .canonical import canonical_content, canonical_references
from .contents import keys_of
from .models import Snapshot
from .reading import Rescued

LONGEST_SPEC = 160
APPROVED, APPROVED_DRAFT, DRAFT, SNAPSHOT, SNAPSHOT_DRAFT = "git", "git-draft", "draft", "snapshot", "snapshot-draft"


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: its words, the environment's slug, the workflow there (None: not there), the ids
    that it can refer to, and where it was read from if not from Git (which the label says as well).
    """

    spec: str
    label: str
    environment: str = ""
    content: dict[str, Any] | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    wherefrom: str = ""

    @property
    def shown(self) -> DiffSide:
        """As the one diff view takes it."""
        return DiffSide(self.content, self.label, self.keys)


def compared(left: Side, right: Side, *, view: str, text: TextOptions, base: Side | None = None) -> dict[str, Any]:
    """The context of ``workflows/_diff.html``; with the version that both had in common also what each did since."""
    across = left.environment != right.environment
    found = diff_context(left.shown, right.shown, view=view, across=across, text=text)
    if base is not None and base.content is not None:
        found |= three_way_context(base.shown, left.shown, right.shown, across=across)
    return found


def approved_spec(slug: str, commit: str, *, draft: bool = False) -> str:
    """What was approved by a commit, as an address names it."""
    return f"{APPROVED_DRAFT if draft else APPROVED}:{slug}@{commit}"


def snapshot_spec(snapshot_id: object, *, draft: bool = False) -> str:
    """What a snapshot holds, as an address names it."""
    return f"{SNAPSHOT_DRAFT if draft else SNAPSHOT}:{snapshot_id}"


def for_good(visit: Visit, spec: str, *, other: str = "") -> str:
    """What ``spec`` means today, by a name that goes on meaning it; as it is where there is no such version yet.

    ``git`` alone means what is approved in the environment that the ``other`` side names. Outside any scope. Raises
    ``NotFound``.
    """
    kind, colon, name = spec.partition(":")
    if kind in (SNAPSHOT, SNAPSHOT_DRAFT):
        return spec
    if kind in (APPROVED, APPROVED_DRAFT):
        slug, _, commit = (name or other.rpartition(":")[2]).partition("@")
        environment = environment_named(visit, slug)
        commit = commit if name and commit else last_approval(environment)
        return approved_spec(slug, commit, draft=kind == APPROVED_DRAFT) if commit else f"{kind}:{slug}"
    environment = environment_named(visit, name if colon else spec)
    return environment.draft_version if kind == DRAFT and colon else environment.seen_version


def load_side(visit: Visit, spec: str, key: str) -> Side:
    """The version of a workflow that ``spec`` names. Outside any scope. Raises ``NotFound``."""
    named = for_good(visit, spec)
    kind, _, name = named.partition(":")
    if kind in (APPROVED, APPROVED_DRAFT):
        return _approved(visit, named, key)
    if kind == SNAPSHOT_DRAFT:
        return _draft(services.snapshot_by_id(visit.tenant.pk, name), key, named)
    if kind == SNAPSHOT:
        snapshot = services.snapshot_by_id(visit.tenant.pk, name)
        label = f"{snapshot.environment.name}, {snapshot.get_snapshot_type_display().lower()} {_moment(snapshot)}"
        return _from_snapshot(snapshot, key, named, label)
    environment = environment_named(visit, name or named)
    return Side(named, f"{environment.name} has never been captured", environment.slug)


def environment_named(visit: Visit, slug: str) -> Environment:
    """The tenant's environment of that slug. Outside any scope. Raises ``NotFound``."""
    with tenant_scope(visit.tenant.pk):
        environment = Environment.objects.filter(slug=slug).first()
    if environment is None:
        raise NotFound
    return environment


def _approved(visit: Visit, spec: str, key: str) -> Side:
    """Where no draft was approved beside it, the editor was to hold what runs."""
    kind, _, name = spec.partition(":")
    slug, _, commit = name.partition("@")
    environment = environment_named(visit, slug)
    if not commit:
        return _approved_without_a_branch(environment, spec, key)
    version = approved_at(environment, commit)
    rescued = Rescued()
    draft = version.content(key, draft=True, rescued=rescued) if kind == APPROVED_DRAFT else None
    content = draft if draft is not None else version.content(key, rescued=rescued)
    words = "approved draft" if draft is not None else "approved"
    label = f"{environment.name}, {words} {version.at:%Y-%m-%d %H:%M:%S} UTC{rescued.wherefrom}"
    return Side(spec, label, slug, content, version.references, rescued.wherefrom)


def _approved_without_a_branch(environment: Environment, spec: str, key: str) -> Side:
    """Nothing was ever approved, or Git has lost the branch: then what the database knows of it."""
    rescued = Rescued()
    content = canonical_content(environment, [key], rescued=rescued).get(key)
    words = "approved" if content is not None else "nothing approved"
    label, keys = f"{environment.name}, {words}{rescued.wherefrom}", canonical_references(environment)
    return Side(spec, label, environment.slug, content, keys, rescued.wherefrom)


def _draft(snapshot: Snapshot, key: str, spec: str) -> Side:
    """The draft beside what runs; where there is none, the editor held what ran."""
    label = f"{snapshot.environment.name}, draft {_moment(snapshot)}"
    rescued = Rescued()
    data = services.load_drafts(snapshot, {key}, rescued=rescued).get(key)
    if data is None:
        return _from_snapshot(snapshot, key, spec, label)
    keys = keys_of(snapshot)
    slug, wherefrom = snapshot.environment.slug, rescued.wherefrom
    return Side(spec, label + wherefrom, slug, parse(data), keys, wherefrom)


def _from_snapshot(snapshot: Snapshot, key: str, spec: str, label: str) -> Side:
    rescued = Rescued()
    for _, content in services.contents(snapshot, {key}, rescued=rescued):
        keys = keys_of(snapshot)
        slug, wherefrom = snapshot.environment.slug, rescued.wherefrom
        return Side(spec, label + wherefrom, slug, content, keys, wherefrom)
    return Side(spec, label, snapshot.environment.slug)


def _moment(snapshot: Snapshot) -> str:
    return f"{snapshot.created_at:%Y-%m-%d %H:%M:%S} UTC"
