"""The job of a rehearsal: a snapshot, an n8n of the chosen version, every workflow written into it and read back."""

from __future__ import annotations

import contextlib
import re
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings

from core import clock
from operations.engine import Run
from operations.handlers import register
from snapshots import job_summaries
from snapshots.capture import capture_into
from snapshots.contents import contents, keys_of, snapshot_by_id
from snapshots.manifest import ManifestEntry
from snapshots.models import Rehearsal, Snapshot, SnapshotType
from workflows.content import ContentError, fingerprint, portable
from workflows.diff import diff_workflows
from workflows.gateway import environment_by_id
from workflows.models import Environment
from workflows.n8n import errors as n8n_errors

from . import rules
from .documents import Rehearsed, Report
from .errors import NothingToRehearse, RehearsalTooLong, ScratchEnded
from .scratch import Running, alone, scratch

if TYPE_CHECKING:
    from workflows.n8n import N8nClient

KIND = "snapshots.rehearse"
CHANGES_KEPT = 12
PROBES = 200
#: A fault of n8n's own, which the client reports as such or as a write of unknown outcome.
_FAULTS = (n8n_errors.ServerFailed.code, n8n_errors.AmbiguousWrite.code)
PUBLISH = "/workflows/{id}/publish"
_UNRECOGNIZED = re.compile(r"Unrecognized node type: (\S+?)[\"'}\s]*$")
_NO_VERSION = re.compile(r'Node type \\?"(\S+?)\\?" is not available in version (\S+?)\. ')


@register
class Rehearse:
    """Find out what another version of n8n would make of an environment."""

    kind: ClassVar[str] = KIND
    summary = staticmethod(job_summaries.rehearsed)

    def run(self, run: Run) -> dict[str, Any]:
        environment = environment_by_id(run.tenant_id, run.params["environment_id"])
        snapshot = self._snapshot(run, environment)
        version = str(run.params["version"])
        result: dict[str, Any] = run.step(
            "rehearse",
            f"Write {environment.name} into n8n {version}, and read it back",
            lambda: self._rehearse(run, environment, snapshot, version),
        )
        return result

    def _snapshot(self, run: Run, environment: Environment) -> Snapshot:
        if not run.params.get("fresh"):
            if environment.last_snapshot_id is None:
                raise NothingToRehearse
            return snapshot_by_id(run.tenant_id, environment.last_snapshot_id)
        return capture_into(
            run,
            environment=environment,
            snapshot_type=SnapshotType.MANUAL_BACKUP,
            description=f"Before rehearsing n8n {run.params['version']}",
            step="capture",
            snapshot_id=uuid.uuid5(run.operation.pk, "rehearsal"),
        )

    def _rehearse(self, run: Run, environment: Environment, snapshot: Snapshot, version: str) -> dict[str, Any]:
        rehearsal_id = uuid.UUID(str(run.params["rehearsal_id"]))
        deadline = time.monotonic() + settings.REHEARSAL_SECONDS
        report = _Rehearsal(run, environment, snapshot, version, deadline).report()
        with run.fenced():
            Rehearsal.objects.filter(pk=rehearsal_id).update(
                report=report.to_dict(), snapshot_id=snapshot.pk, finished_at=clock.now(), updated_at=clock.now()
            )
        return {"rehearsal_id": str(rehearsal_id), "counts": report.counts(), "seconds": report.seconds}


@dataclass(slots=True)
class _Rehearsal:
    """One rehearsal while it runs. Contents pass through one at a time."""

    run: Run
    environment: Environment
    snapshot: Snapshot
    version: str
    deadline: float
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def report(self) -> Report:
        """Start the n8n, write, read back, judge; it is gone when this returns or raises."""
        began = time.monotonic()
        with alone() as root:
            folder = root / str(self.run.operation.pk)
            with scratch(self.version, folder, deadline=self.deadline, check=self._check) as (running, client):
                self.seconds["start"] = round(time.monotonic() - began, 1)
                return self._asked(running, client)

    def _asked(self, running: Running, client: N8nClient) -> Report:
        try:
            return self._tried(running, client)
        except n8n_errors.N8nError as error:
            message = f"The n8n of the rehearsal did not answer: {error.message}"
            raise ScratchEnded(message, details={"cause": error.to_dict()}) from error

    def _check(self) -> None:
        self.run.check()
        if time.monotonic() > self.deadline:
            raise RehearsalTooLong

    def _tried(self, running: Running, client: N8nClient) -> Report:
        to = running.version or self.version
        crosses_2 = self._crosses_2(to)
        estate = rules.Estate(crosses_2=crosses_2)
        kinds: dict[tuple[str, str], None] = {}
        for workflow, entry in self._workflows("Looking at the snapshot"):
            estate.add(entry.env_workflow_id, workflow)
            kinds |= dict.fromkeys(rules.type_of(node) for node in workflow.content.get("nodes") or ())
        with self._timed("node types"):
            unknown = probe(client, kinds, check=self._check)
        with self._timed("write"):
            keys = keys_of(self.snapshot)
            tried = [self._try(client, one, estate, unknown, keys) for one, _ in self._workflows("Writing")]
        if crosses_2 and (note := _awakened(tried)):
            self.notes.append(note)
        return Report(
            from_version=self.environment.n8n_version,
            to_version=to,
            workflows=tuple(tried),
            notes=tuple(self.notes),
            unknown_types=tuple(sorted({f"{kind} {version}" for kind, version in unknown})),
            seconds=self.seconds,
        )

    def _crosses_2(self, to: str) -> bool:
        """Whether the upgrade leads from before 2.0 to 2.0 or later."""
        target, origin = rules.version_of(to), rules.version_of(self.environment.n8n_version or "")
        if origin is None:
            self.notes.append("The environment does not tell its version: what 2.0 changed is looked for.")
        return target is not None and target[0] >= 2 and (origin is None or origin[0] < 2)

    @contextlib.contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.seconds[phase] = round(time.monotonic() - began, 1)

    def _workflows(self, doing: str) -> Iterator[tuple[rules.SnapshotWorkflow, ManifestEntry]]:
        total = self.snapshot.workflow_count or 0
        for number, (entry, content) in enumerate(contents(self.snapshot)):
            self._check()
            self.run.progress(number, total, doing)
            yield rules.SnapshotWorkflow(entry.key, entry.label, entry.active, content), entry

    def _try(
        self,
        client: N8nClient,
        workflow: rules.SnapshotWorkflow,
        estate: rules.Estate,
        unknown: Mapping[tuple[str, str], str],
        keys: Mapping[str, str],
    ) -> Rehearsed:
        found = tuple(rules.findings(workflow, estate, unknown))
        refusal, changes = write(client, workflow.content, keys)
        return Rehearsed(
            key=workflow.key,
            name=workflow.name,
            active=workflow.active,
            outcome="refused" if refusal else "differs" if found else "changed" if changes else "fine",
            said=refusal[:1000],
            findings=found[:60],
            changes=tuple(changes[:CHANGES_KEPT]),
        )


def _awakened(tried: Iterable[Rehearsed]) -> str:
    """What the upgrade itself would set running, in a sentence; nothing where there is nothing."""
    count = sum(any(finding.rule == "awakened" for finding in workflow.findings) for workflow in tried)
    if not count:
        return ""
    if count == 1:
        return "The upgrade itself would set a workflow running that is off now."
    return f"The upgrade itself would set {count} workflows running that are off now."


def write(client: N8nClient, content: Mapping[str, Any], keys: Mapping[str, str]) -> tuple[str, list[str]]:
    """Write one workflow and read it back: n8n's words where it refused, and what it made of it in sentences.

    It is never published. Raises ``N8nError`` where the instance itself fails.
    """
    try:
        made = client.create_workflow({**content, "active": False})
        raw = client.get_workflow(made.id)
    except (n8n_errors.Rejected, n8n_errors.TooLarge, ContentError) as error:
        return str(error.details.get("n8n") or error.message), []
    lost = [f"{row['path']} cannot be given to this version: {row['reason']}" for row in made.omitted]
    after = {**portable(raw), "active": False, "tags": content.get("tags") or []}
    before = {**content, "active": False}
    if fingerprint(before).content_hash(keys) == fingerprint(after).content_hash(keys):
        return "", lost
    diff = diff_workflows(before, after, before_keys=keys, after_keys=keys)
    return "", [*lost, *(change.sentence for change in diff.changes if change.behaviour)]


def probe(
    client: N8nClient, kinds: Iterable[tuple[str, str]], *, check: Callable[[], None] = lambda: None
) -> dict[tuple[str, str], str]:
    """Node types and versions that the instance does not have, with its own words.

    It is asked by publishing a workflow of switched-off nodes behind a monthly schedule: n8n names the first that it
    does not know, which is then left out. Where it fails without a name (2.41.1 answers 500 for one of its own types)
    the rest is halved until the one is found; that one is not judged.
    """
    asked = [kind for kind in dict.fromkeys(kinds) if kind[0]]
    found: dict[tuple[str, str], str] = {}
    groups = [asked] if asked else []
    for _ in range(PROBES):
        if not groups:
            break
        check()
        group = groups.pop()
        refusal = _published(client, group)
        if refusal:
            lacking = _named(refusal, group)
            found |= dict.fromkeys(lacking, refusal)
            groups += _left_to_ask(group, lacking)
    return found


def _left_to_ask(group: Sequence[tuple[str, str]], lacking: Collection[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """The groups that follow a refusal: without what n8n named, or halved where it named nothing."""
    left = [kind for kind in group if kind not in lacking]
    middle = len(left) // 2
    if lacking:
        return [left] if left else []
    return [left[:middle], left[middle:]] if middle else []


def _published(client: N8nClient, kinds: Iterable[tuple[str, str]]) -> str:
    """n8n's words when it refuses to publish nodes of these types; empty where it takes them."""
    schedule = {
        "id": "start",
        "name": "Start",
        "type": "n8n-nodes-base.scheduleTrigger",
        "typeVersion": 1.1,
        "position": [0, 0],
        "parameters": {"rule": {"interval": [{"field": "months"}]}},
    }
    asked: list[dict[str, Any]] = [
        {
            "id": f"n{number}",
            "name": f"Node {number}",
            "type": kind,
            "typeVersion": float(version) if "." in version else int(version),
            "position": [200, 40 * number],
            "parameters": {},
            "disabled": True,
        }
        for number, (kind, version) in enumerate(kinds)
        if re.fullmatch(r"\d+(\.\d+)?", version)
    ]
    made = client.create_workflow(
        {"name": "Node types", "nodes": [schedule, *asked], "connections": {}, "settings": {}}
    )
    verb, back = ("publish", "unpublish") if client.spec().has("post", PUBLISH) else ("activate", "deactivate")
    try:
        client.call("POST", f"/workflows/{made.id}/{verb}", body={})
    except n8n_errors.Rejected as error:
        return str(error.details.get("n8n") or error.message)
    except n8n_errors.N8nError as error:
        if error.code not in _FAULTS:
            raise
        return error.message
    client.call("POST", f"/workflows/{made.id}/{back}")
    return ""


def _named(refusal: str, kinds: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The types that n8n's words name."""
    if unrecognized := _UNRECOGNIZED.search(refusal):
        # Of a node in its shape as a tool of an agent, n8n names the node.
        return _of_type(kinds, unrecognized[1]) or _of_type(kinds, f"{unrecognized[1]}Tool")
    if version := _NO_VERSION.search(refusal):
        return [k for k in kinds if k[0].rpartition(".")[2] == version[1] and k[1] == version[2]]
    return []


def _of_type(kinds: Iterable[tuple[str, str]], name: str) -> list[tuple[str, str]]:
    return [kind for kind in kinds if kind[0] == name]
