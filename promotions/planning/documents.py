"""The plan of a promotion as it is stored, locked and approved.

``read_plan`` is the one place that reads stored plans, whatever their age. The hash of an approved plan is made of the
stored document itself, so that no later change of these classes changes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import orjson
from msgspec import UNSET, UnsetType

from core.documents import Document
from core.texts import json_bytes
from promotions.errors import PlanStale
from workflows.normalization import NORMALIZATION_VERSION
from workflows.surroundings import Column

from .options import Options

PLAN_VERSION = 2
#: Plans from before that field were made under the first way of comparing workflows.
FIRST_NORMALIZATION_VERSION = 1

Action = Literal["create", "update", "unchanged"]


class ColumnToCreate(Document, frozen=True, kw_only=True):
    """A column of a data table; ``type`` in n8n's words."""

    name: str
    type: str

    @classmethod
    def of(cls, columns: tuple[Column, ...] | list[Column]) -> tuple[ColumnToCreate, ...]:
        return tuple(cls(name=column.name, type=column.type) for column in columns)


class Offer(Document, frozen=True, kw_only=True):
    """What the console can create in the target so that a reference is met; ``id`` is what it is chosen by.

    ``do``: see ``offers``. ``type`` and ``name`` are those of a credential, ``name`` and ``columns`` those of a data
    table, ``table_id`` that of a table which lacks columns.
    """

    do: str
    id: str = ""
    type: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    table_id: str | UnsetType = UNSET
    columns: tuple[ColumnToCreate, ...] | UnsetType = UNSET


class MissingReference(Document, frozen=True, kw_only=True):
    """Something that a workflow refers to and that the target does not have: it stops the promotion.

    ``key`` is the missing workflow's, where it is one of the source. ``stored_name`` is what the node calls a
    credential whose ``label`` is its present name.
    """

    kind: str
    value: str
    reason: str
    message: str
    label: str = ""
    node: str = ""
    path: str = ""
    credential_type: str = ""
    key: str | None = None
    stored_name: str | UnsetType = UNSET
    offer: Offer | UnsetType | None = UNSET
    workflow_key: str = ""
    workflow_name: str = ""


class Need(Document, frozen=True, kw_only=True):
    """Something that a workflow depends on in the target: ``state`` is met, warning or gate."""

    kind: str
    value: str
    state: str = ""
    message: str = ""
    label: str | UnsetType = UNSET
    node: str | UnsetType = UNSET
    path: str | UnsetType = UNSET
    credential_type: str | UnsetType = UNSET


class PlanWarning(Document, frozen=True, kw_only=True):
    """What a person should know and what stops nothing."""

    code: str
    message: str
    node: str = ""


class UsedResource(Document, frozen=True, kw_only=True):
    """A credential or data table of the source, and the target's that stands for it (None: none was found)."""

    type: str
    source_name: str
    source_id: str
    target_name: str | None
    target_id: str | None
    how: str
    verified: bool = True
    in_use: bool = True


class CalledWorkflow(Document, frozen=True, kw_only=True):
    """A workflow that is called, by its id in the source and in the target (None: it is not there)."""

    node: str
    path: str
    source_id: str
    key: str | None
    target_id: str | None


class PlannedSource(Document, frozen=True, kw_only=True):
    """The version that is promoted; ``blob`` pins its content in Git."""

    env_workflow_id: str
    content_hash: str
    active: bool
    blob: str | None = None
    version: str = "published"


class PlannedTarget(Document, frozen=True, kw_only=True):
    """The target's copy as the plan saw it."""

    env_workflow_id: str
    name: str
    active: bool
    archived: bool = False


class PlanItem(Document, frozen=True, kw_only=True):
    """What is done to one workflow. Hashes are of its content: expected in the target, and wanted there afterwards."""

    key: str
    name: str
    action: Action
    source: PlannedSource
    target: PlannedTarget | None
    expected_hash: str | None
    wanted_hash: str
    active: bool
    credentials: tuple[UsedResource, ...]
    workflows: tuple[CalledWorkflow, ...]
    depends_on: tuple[str, ...]
    webhooks: tuple[str, ...] = ()
    node_count: int = 0
    tags: tuple[str, ...] = ()
    warnings: tuple[PlanWarning, ...] = ()
    expected_draft_hash: str | None = None
    data_tables: tuple[UsedResource, ...] = ()
    needs: tuple[Need, ...] = ()
    added_for: tuple[str, ...] = ()

    @property
    def is_written(self) -> bool:
        return self.action != "unchanged"

    @property
    def is_created(self) -> bool:
        return self.action == "create"

    @property
    def resources(self) -> tuple[UsedResource, ...]:
        """Credentials and data tables."""
        return (*self.credentials, *self.data_tables)


class PlannedEnvironment(Document, frozen=True, kw_only=True):
    """One side of a plan, and the snapshot that it was made from."""

    environment_id: str
    slug: str
    name: str
    snapshot_id: str
    commit: str | None
    captured_at: str


class MissingScope(Document, frozen=True, kw_only=True):
    """A scope that the target's API key lacks, and what that means."""

    scope: str
    effect: str


class ScopeCheck(Document, frozen=True, kw_only=True):
    """Whether the instance tells what its key may do, and what the plan needs besides."""

    known: bool = False
    missing: tuple[MissingScope, ...] = ()


class Reached(Document, frozen=True, kw_only=True):
    """Whether each instance answered when it was asked what it has."""

    source: bool = True
    target: bool = True


class ProposedWorkflow(Document, frozen=True, kw_only=True):
    """A sub-workflow that the target lacks and that was not chosen."""

    key: str
    name: str
    needed_by: tuple[str, ...]


class Counts(Document, frozen=True, kw_only=True):
    """Workflows by what is done to them."""

    create: int = 0
    update: int = 0
    unchanged: int = 0

    @property
    def written(self) -> int:
        return self.create + self.update


class Plan(Document, frozen=True, kw_only=True):
    """What a promotion would do. What speaks against it is in it, and refused when it is submitted."""

    source: PlannedEnvironment
    target: PlannedEnvironment
    options: Options
    items: tuple[PlanItem, ...]
    dangling: tuple[MissingReference, ...]
    unknown_keys: tuple[str, ...]
    missing_contents: tuple[str, ...]
    proposed: tuple[ProposedWorkflow, ...]
    counts: Counts
    planned_at: str
    version: int = PLAN_VERSION
    normalization_version: int = FIRST_NORMALIZATION_VERSION
    scopes: ScopeCheck = ScopeCheck()
    reached: Reached = Reached()

    @property
    def keys(self) -> list[str]:
        return [item.key for item in self.items]

    @property
    def written_items(self) -> dict[str, PlanItem]:
        """Those that are created or updated, by key."""
        return {item.key: item for item in self.items if item.is_written}

    @property
    def target_credential_ids(self) -> frozenset[str]:
        """Ids of the target's credentials that are pointed to and needed."""
        used = (one for item in self.items for one in item.credentials)
        return frozenset(one.target_id for one in used if one.target_id and one.in_use)

    @property
    def is_outdated(self) -> bool:
        """Whether its hashes cannot be compared with any that are made now: the console was upgraded since."""
        return bool(self.items) and self.normalization_version != NORMALIZATION_VERSION


_NOWHERE = PlannedEnvironment(environment_id="", slug="", name="", snapshot_id="", commit=None, captured_at="")
#: Of a promotion without one: a record of what was approved without being promoted.
NO_PLAN = Plan(
    source=_NOWHERE,
    target=_NOWHERE,
    options=Options(),
    items=(),
    dangling=(),
    unknown_keys=(),
    missing_contents=(),
    proposed=(),
    counts=Counts(),
    planned_at="",
    normalization_version=NORMALIZATION_VERSION,
)


def read_plan(stored: Mapping[str, Any] | None) -> Plan:
    """A stored plan of any version; ``NO_PLAN`` for None. What older versions did not tell has its default.

    Raises ``PlanStale`` for one that cannot be read.
    """
    if not stored:
        return NO_PLAN
    try:
        return Plan.from_json(stored)
    except msgspec.ValidationError as error:
        raise PlanStale(f"The plan is of a version that this console cannot read: {error}.") from error


def plan_hash(stored: Mapping[str, Any]) -> str:
    """64 hex digits of all in a stored plan but the moment it was made."""
    kept = {name: value for name, value in stored.items() if name != "planned_at"}
    return hashlib.sha256(json_bytes(kept, option=orjson.OPT_SORT_KEYS)).hexdigest()


def means_the_same(one: Plan, other: Plan) -> bool:
    """Whether two plans would do the same, whenever each was made."""
    return [_effect(item) for item in one.items] == [_effect(item) for item in other.items]


def _effect(item: PlanItem) -> tuple[object, ...]:
    return item.key, item.action, item.expected_hash, item.expected_draft_hash, item.wanted_hash, item.active
