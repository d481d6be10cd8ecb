"""THE restore path: the only code that writes old content back to an n8n.

A restore by a person, its own roll back, that of a promotion and a stabilization all come through ``restore_into``.
It rewrites references to the ids that workflows have now, writes through ``workflows.writes`` (which never overwrites
somebody else's edit and proves each write by reading back), records the ids of what was created again, and rewires
everything that still called the old ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from operations.engine import Run
from tenants.scope import assert_no_scope
from workflows import identity
from workflows.gateway import client_for
from workflows.models import Environment, WorkflowEnvMap
from workflows.writes import Resolver, WriteTarget, Written, pending, perform

from .contents import keys_of
from .preview import preview
from .rewiring import rewire
from .starting import start_restore
from .write_items import ItemBuilder, RestoreRequest, WantedWorkflow, deletions, wanted_by

if TYPE_CHECKING:
    from workflows.n8n.client import N8nClient

__all__ = ["RestoreReport", "RestoreRequest", "preview", "restore_into", "start_restore"]


@dataclass(slots=True)
class RestoreReport:
    """What became of each workflow, by key; ``rewired`` are callers that got a new id to call.

    ``wanted`` are the hashes that were to be reached, made today: what a step says may be of an older normalization.
    """

    results: dict[str, Written] = field(default_factory=dict)
    rewired: dict[str, Written] = field(default_factory=dict)
    unreadable: list[dict[str, str]] = field(default_factory=list)
    wanted: dict[str, str | None] = field(default_factory=dict)

    def of(self, outcome: str) -> list[Written]:
        return [w for _, w in sorted(self.results.items()) if w.outcome == outcome]

    @property
    def failed(self) -> list[Written]:
        """What failed, callers included."""
        return [*self.of("failed"), *(w for w in self.rewired.values() if w.outcome == "failed")]

    def to_dict(self) -> dict[str, Any]:
        """JSON: lists by outcome, with counts."""
        lists = {
            name: [w.to_json() for w in self.of(name)]
            for name in ("created", "updated", "skipped", "deleted", "failed")
        }
        lists["rewired"] = [w.to_json() for _, w in sorted(self.rewired.items())]
        return {**lists, "unreadable": self.unreadable, "counts": {name: len(rows) for name, rows in lists.items()}}


def restore_into(run: Run, request: RestoreRequest, *, client: N8nClient | None = None) -> RestoreReport:
    """Bring workflows of an environment back, as the request says.

    What the instance cannot do is in ``Written.left``. Safe to begin again. Call outside any scope. Raises what
    ``writes.perform`` raises and ``SnapshotUnreadable``.
    """
    assert_no_scope("A restore")
    environment = request.environment
    wanted = wanted_by(request)
    mapped = _mappings(run, environment)
    _make_known(run, environment, wanted, mapped)
    builder = _builder(request, wanted, mapped)
    items = [builder.item(w, mapped.ids.get(w.key)) for w in wanted]
    report = RestoreReport(wanted={item.key: item.wanted_hash for item in items})
    items += deletions(request, {w.key: w.name for w in wanted})
    resolver = Resolver(dict(builder.keys))

    def remember(made: Mapping[str, str]) -> None:
        with run.fenced():
            identity.bind(tenant_id=environment.tenant_id, environment_id=environment.pk, ids=made)

    with _client(environment, client) as connected:
        target = WriteTarget(
            client=connected,
            environment=environment,
            prefix=request.prefix,
            resolver=resolver,
            concurrency=request.concurrency,
            tolerant=request.tolerant,
            restores=True,
        )
        report.results = perform(run, items, target, on_created=remember)
        if resolver.moved:
            done = {w.env_workflow_id for w in report.results.values()}
            report.rewired = rewire(
                run, connected, environment, resolver, done, prefix=request.prefix, tolerant=request.tolerant
            )
    _forget_deleted(run, environment, report)
    return report


class _Mappings(NamedTuple):
    """What the database says of an environment: by key the id that a workflow has or had there, and which are there."""

    ids: dict[str, str]
    live: frozenset[str]
    keys: dict[str, str]
    """n8n id → key, of those that are there."""


def _mappings(run: Run, environment: Environment) -> _Mappings:
    there = {str(s) for s in identity.LIVE}
    with run.fenced():
        rows = list(
            WorkflowEnvMap.objects.filter(environment_id=environment.pk).values_list(
                "canonical_workflow__key", "env_workflow_id", "status"
            )
        )
        keys = identity.key_by_workflow_id(environment.pk)
    live = frozenset(key for key, workflow_id, status in rows if workflow_id and status in there)
    return _Mappings({key: workflow_id for key, workflow_id, _ in rows}, live, keys)


def _make_known(run: Run, environment: Environment, wanted: Sequence[WantedWorkflow], mapped: _Mappings) -> None:
    """Give workflows that the environment has never had a canonical workflow."""
    strange = {w.key: w.name for w in wanted if w.key not in mapped.ids}
    if strange:
        with run.fenced():
            identity.make_known(tenant_id=environment.tenant_id, names=strange)


def _builder(request: RestoreRequest, wanted: Sequence[WantedWorkflow], mapped: _Mappings) -> ItemBuilder:
    creating = {w.key for w in wanted if w.key not in mapped.live}
    origins = _origins(request, mapped)
    former = {workflow_id: key for key, workflow_id in mapped.ids.items() if workflow_id}
    targets = {key: mapped.ids[key] for key in mapped.live} | {key: pending(key) for key in creating}
    keys = {**(origins if request.is_home else {}), **former, **mapped.keys}
    return ItemBuilder(request, creating, origins, targets, keys)


def _origins(request: RestoreRequest, mapped: _Mappings) -> dict[str, str]:
    if request.origin is not None:
        return dict(request.origin)
    return {**mapped.keys, **(keys_of(request.snapshot) if request.snapshot is not None else {})}


def _forget_deleted(run: Run, environment: Environment, report: RestoreReport) -> None:
    gone = [w.key for w in report.results.values() if w.outcome == "deleted"]
    if gone:
        with run.fenced():
            identity.mark_deleted(tenant_id=environment.tenant_id, environment_id=environment.pk, keys=gone)


class _client:
    """The caller's client, left open; or one of our own, closed at the end."""

    def __init__(self, environment: Environment, given: N8nClient | None) -> None:
        self._environment, self._given = environment, given
        self._own: N8nClient | None = None

    def __enter__(self) -> N8nClient:
        if self._given is not None:
            return self._given
        self._own = client_for(self._environment)
        return self._own

    def __exit__(self, *_exc: object) -> None:
        if self._own is not None:
            self._own.close()
