"""The job of a rehearsal: a snapshot, an n8n of the chosen version, every workflow written into it and read back."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings

from core import clock
from operations.engine import Run
from operations.handlers import register
from snapshots.capture import capture_into
from snapshots.manifest import key_map
from snapshots.models import Rehearsal, Snapshot, SnapshotType
from snapshots.services import load_content, references_of, snapshot_by_id
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
#: A fault of n8n's own, told by the client as such or as a write of unknown outcome.
_FAULTS = (n8n_errors.ServerFailed.code, n8n_errors.AmbiguousWrite.code)
PUBLISH = "/workflows/{id}/publish"
_UNRECOGNIZED = re.compile(r"Unrecognized node type: (\S+?)[\"'}\s]*$")
_NO_VERSION = re.compile(r'Node type \\?"(\S+?)\\?" is not available in version (\S+?)\. ')


@register
class Rehearse:
    """Find out what another version of n8n would make of an environment."""

    kind: ClassVar[str] = KIND

    def run(self, run: Run) -> dict[str, Any]:
        environment = environment_by_id(run.tenant_id, run.params["environment_id"])
        snapshot = self._snapshot(run, environment)
        version = str(run.params["version"])
        told: dict[str, Any] = run.step(
            "rehearse",
            f"Write {environment.name} into n8n {version}, and read it back",
            lambda: self._rehearse(run, environment, snapshot, version),
        )
        return told

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
        report = Rehearsing(run, environment, snapshot, version, deadline).report()
        with run.fenced():
            Rehearsal.objects.filter(pk=rehearsal_id).update(
                report=report.to_dict(), snapshot_id=snapshot.pk, finished_at=clock.now(), updated_at=clock.now()
            )
        return {"rehearsal_id": str(rehearsal_id), "counts": report.counts(), "seconds": report.seconds}


@dataclass(slots=True)
class Rehearsing:
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
            told = f"The n8n of the rehearsal did not answer: {error.message}"
            raise ScratchEnded(told, details={"cause": error.to_dict()}) from error

    def _check(self) -> None:
        self.run.check()
        if time.monotonic() > self.deadline:
            raise RehearsalTooLong

    def _tried(self, running: Running, client: N8nClient) -> Report:
        to = running.version or self.version
        target, origin = rules.version_of(to), rules.version_of(self.environment.n8n_version or "")
        crosses = target is not None and target[0] >= 2 and (origin is None or origin[0] < 2)
        if origin is None:
            self.notes.append("The environment does not tell its version: what 2.0 changed is looked for.")
        estate = rules.Estate(crosses_2=crosses)
        kinds: dict[tuple[str, str], None] = {}
        for place, entry in self._places("Looking at the snapshot"):
            estate.add(str(entry.get("env_workflow_id") or ""), place)
            kinds |= dict.fromkeys(rules.type_of(node) for node in place.content.get("nodes") or ())
        began = time.monotonic()
        unknown = probe(client, kinds, check=self._check)
        self.seconds["node types"] = round(time.monotonic() - began, 1)
        began = time.monotonic()
        keys = key_map(self.snapshot.workflows, references_of(self.snapshot))
        tried = [self._try(client, place, estate, unknown, keys) for place, _ in self._places("Writing")]
        self.seconds["write"] = round(time.monotonic() - began, 1)
        if crosses and (later := self._awakened(tried)):
            self.notes.append(later)
        return Report(
            from_version=self.environment.n8n_version,
            to_version=to,
            workflows=tuple(tried),
            notes=tuple(self.notes),
            unknown_types=tuple(sorted({f"{kind} {version}" for kind, version in unknown})),
            seconds=self.seconds,
        )

    def _awakened(self, tried: Iterable[Rehearsed]) -> str:
        count = sum(any(f.rule == "awakened" for f in w.findings) for w in tried)
        what = "a workflow" if count == 1 else f"{count} workflows"
        return (
            f"The upgrade itself would set {what} running that {'is' if count == 1 else 'are'} off now."
            if count
            else ""
        )

    def _places(self, doing: str) -> Iterable[tuple[rules.Place, Mapping[str, Any]]]:
        total = self.snapshot.workflow_count or 0
        for number, (entry, content) in enumerate(load_content(self.snapshot)):
            self._check()
            self.run.progress(number, total, doing)
            name = str(entry.get("name") or entry["key"])
            yield rules.Place(str(entry["key"]), name, bool(entry.get("active")), content), entry

    def _try(
        self,
        client: N8nClient,
        place: rules.Place,
        estate: rules.Estate,
        unknown: Mapping[tuple[str, str], str],
        keys: Mapping[str, str],
    ) -> Rehearsed:
        found = tuple(rules.findings(place, estate, unknown))
        said, changes = write(client, place.content, keys)
        outcome = "refused" if said else "differs" if found else "changed" if changes else "fine"
        return Rehearsed(
            key=place.key,
            name=place.name,
            active=place.active,
            outcome=outcome,  # type: ignore[arg-type]
            said=said[:1000],
            findings=found[:60],
            changes=tuple(changes[:CHANGES_KEPT]),
        )


def write(client: N8nClient, content: Mapping[str, Any], keys: Mapping[str, str]) -> tuple[str, list[str]]:
    """Write one workflow and read it back: n8n's words where it refused, and what it made of it in sentences.

    It is never published. Raises ``N8nError`` where the instance itself fails.
    """
    try:
        made = client.create_workflow({**content, "active": False})
        raw = client.get_workflow(made.id)
    except (n8n_errors.Rejected, n8n_errors.TooLarge, ContentError) as error:
        said = error.details.get("n8n") if isinstance(error.details, dict) else None
        return str(said or error.message), []
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
    the rest is halved until the one is found; nothing is said of that one.
    """
    asked = [kind for kind in dict.fromkeys(kinds) if kind[0]]
    found: dict[tuple[str, str], str] = {}
    groups = [asked] if asked else []
    for _ in range(PROBES):
        if not groups:
            break
        check()
        group = groups.pop()
        said = _published(client, group)
        if not said:
            continue
        lacking = _named(said, group)
        found |= dict.fromkeys(lacking, said)
        left = [kind for kind in group if kind not in lacking]
        middle = len(left) // 2
        if lacking:
            groups += [left] if left else []
        elif middle:
            groups += [left[:middle], left[middle:]]
    return found


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


def _named(said: str, kinds: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    if unrecognized := _UNRECOGNIZED.search(said):
        # Of a node in its shape as a tool of an agent, n8n names the node.
        names = (unrecognized[1], f"{unrecognized[1]}Tool")
        exact = [kind for kind in kinds if kind[0] == names[0]]
        return exact or [kind for kind in kinds if kind[0] == names[1]]
    if version := _NO_VERSION.search(said):
        return [k for k in kinds if k[0].rpartition(".")[2] == version[1] and k[1] == version[2]]
    return []
