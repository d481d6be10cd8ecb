"""THE way in which workflow content is written to n8n: restores, promotions and put-backs all come through here.

n8n's ``PUT`` takes no version to compare with, so every write is: read, compare with the hash that is expected, write,
read back, compare with the hash that is wanted. What is neither of the two is somebody else's edit and is never
overwritten. The window between the read and the write is one round trip; an edit inside it cannot be seen, which is
why the read back also compares the version that n8n gave to our own write.

**Order, and why.** An inactive workflow runs nothing, and a ``PUT`` on an active one goes live at once. So:

1. new workflows are written first, inactive, the called before the callers;
2. those that call each other in a circle get their references in a second write, still inactive;
3. existing workflows are updated. One that ends inactive is switched off *before* its content changes, so that the new
   content never runs. One that stays active is replaced in one call: switching it off first would lose the events that
   arrive meanwhile, and n8n swaps the content at once;
4. only when every content is there and proven are workflows switched on: no live workflow calls one that is half done;
5. deletions come last, when nothing calls what is deleted any more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from operations.engine import Effect, Looked, Run
from operations.errors import UnknownOutcome
from operations.models import OperationStep, StepState
from opsconsole.core.errors import Conflict, OpsError
from tenants.scope import tenant_scope

from .content import Fingerprint, fingerprint, portable
from .n8n.client import WriteResult
from .n8n.errors import AmbiguousWrite, N8nError, RemoteNotFound
from .references import references, rewrite

if TYPE_CHECKING:
    from .n8n.client import N8nClient

PENDING = "opsconsole-pending:"
"""Prefix of a reference to a workflow that has no id in the target yet; the canonical key follows."""

CONCURRENCY = 4
CHUNK = 64
PUT_ATTEMPTS = 3


class EditedMeanwhile(Conflict):
    """Somebody else changed the workflow. ``details``: expected, wanted, found (hashes), version_id, updated_at."""

    code = "WRITE_001"
    title = "Somebody else edited the workflow"
    message = "The workflow is neither as it was when this was planned nor as it is meant to become."
    recovery = "Look at the edit in n8n, capture the environment, and decide again."


class NotAsWritten(OpsError):
    """n8n took the write, but what it holds now is something else."""

    code = "WRITE_002"
    title = "n8n kept something else"
    message = "The content read back from n8n is not what was written."
    recovery = "Compare the workflow in n8n with the snapshot; n8n's version may not know a node or setting."
    status = 502


class HalfWritten(OpsError):
    """A write ended in the middle: what is there is a mixture of the old and the new, and nobody else's work.

    ``details``: key, env_workflow_id, found (its hash, which a put-back may overwrite), created (bool).
    """

    code = "WRITE_004"
    title = "The write ended half-way"
    message = "n8n failed in the middle of the write and kept only a part of it."
    recovery = "It is put back by itself; look at n8n's log for the cause before you try again."
    status = 502


class NotActivated(OpsError):
    """The content is there, but the workflow is not in the state (active, inactive) that was asked for."""

    code = "WRITE_003"
    title = "The workflow could not be switched on"
    message = "The content was written, but n8n did not bring the workflow into the wanted state."
    recovery = "Open the workflow in n8n: a missing trigger or credential is the usual cause."
    status = 502


def pending(key: str) -> str:
    """What stands in a content for the id of a workflow that will be created together with it."""
    return PENDING + key


@dataclass(frozen=True, slots=True)
class WriteItem:
    """One workflow to be brought into a state.

    ``content`` is portable and made for the target environment; references to workflows without an id there are
    ``pending(key)``. It may be a function that loads it, so that thousands of items need no memory. ``expected_hash``
    is what must be there now (None: whatever is there is replaced; ``also_expected`` are other hashes that are ours),
    ``wanted_hash`` what must be there afterwards. ``active`` None leaves that as it is; so does ``tags`` None.
    ``action`` is ``create``, ``update`` or ``delete``; an update of a workflow that is gone creates it anew
    unless ``create_if_missing`` is off.
    """

    key: str
    name: str
    title: str
    action: str
    wanted_hash: str | None = None
    env_workflow_id: str | None = None
    content: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = None
    active: bool | None = None
    tags: Sequence[str] | None = None
    expected_hash: str | None = None
    also_expected: frozenset[str] = frozenset()
    needs: frozenset[str] | None = None
    create_if_missing: bool = True

    def load(self) -> Mapping[str, Any]:
        """The content, read if need be."""
        content = self.content() if callable(self.content) else self.content
        if content is None:
            raise ValueError(f"{self.key}: nothing to write")
        return content

    def needed_keys(self) -> frozenset[str]:
        """Keys of pending workflows that the content calls."""
        if self.needs is not None:
            return self.needs
        if self.action == "delete" or self.content is None:
            return frozenset()
        return pending_keys(self.load())

    def expects(self, found: str) -> bool:
        """Whether ``found`` may be overwritten."""
        return self.expected_hash is None or found == self.expected_hash or found in self.also_expected


def pending_keys(content: Mapping[str, Any]) -> frozenset[str]:
    """The keys of the pending workflows that a content calls."""
    return frozenset(
        r.value.removeprefix(PENDING)
        for r in references(content)
        if r.kind == "workflow" and r.value.startswith(PENDING)
    )


class Resolver:
    """Which id stands for which key in the target environment; learns the ids of what is created. Thread-safe.

    ``keys`` maps ids to keys, former ids included: a workflow that still calls a former id is *equal* by hash (it
    means the same workflow) but not *settled* (the call leads nowhere).
    """

    def __init__(self, keys: Mapping[str, str], *, known_ids: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._keys = dict(keys)
        self._moved: dict[str, str] = {}
        self._new: dict[str, str] = {}
        self._claimed = set(keys) | set(known_ids)

    @property
    def created(self) -> dict[str, str]:
        """Key → id of what was created through this resolver."""
        with self._lock:
            return dict(self._new)

    @property
    def moved(self) -> dict[str, str]:
        """Former id → present id."""
        with self._lock:
            return dict(self._moved)

    def learn(self, key: str, env_workflow_id: str, *, former: str | None = None) -> None:
        """Note that ``key`` now lives under ``env_workflow_id``."""
        with self._lock:
            self._keys[env_workflow_id] = key
            self._new[key] = env_workflow_id
            self._claimed.add(env_workflow_id)
            if former and former != env_workflow_id:
                self._keys.setdefault(former, key)
                self._moved[former] = env_workflow_id

    def claim(self, env_workflow_id: str) -> bool:
        """Take a workflow that nobody knew as the one whose creation got no answer; False if it is taken."""
        with self._lock:
            if env_workflow_id in self._claimed:
                return False
            self._claimed.add(env_workflow_id)
            return True

    def key_map(self) -> dict[str, str]:
        """Ids (former, pending ones too) → keys."""
        with self._lock:
            return {**self._keys, **{pending(k): k for k in self._new}}

    def hash_of(self, mark: Fingerprint) -> str:
        """The content hash of a fingerprint taken in the target environment."""
        with self._lock:
            keys = {
                ref: ref.removeprefix(PENDING) if ref.startswith(PENDING) else self._keys[ref]
                for ref in mark.workflow_refs
                if ref in self._keys or ref.startswith(PENDING)
            }
        return mark.content_hash(keys)

    def content_hash(self, content: Mapping[str, Any]) -> str:
        """The content hash of a portable workflow made for the target environment."""
        return self.hash_of(fingerprint(content))

    def is_settled(self, mark: Fingerprint) -> bool:
        """Whether every reference leads to where the workflow lives now."""
        with self._lock:
            return not any(r.startswith(PENDING) or r in self._moved for r in mark.workflow_refs)

    def settle(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """``content`` with pending and former references turned into present ids, as far as they are known."""
        called = [r.value for r in references(content) if r.kind == "workflow"]
        with self._lock:
            ids = {ref: self._moved[ref] for ref in called if ref in self._moved}
            for ref in called:
                key = ref.removeprefix(PENDING)
                if key != ref and key in self._new:
                    ids[ref] = self._new[key]
        if not ids:
            return dict(content)
        return rewrite(content, workflow_ids=ids, credentials={}).content


@dataclass(slots=True)
class Written:
    """What became of one item. ``outcome``: created, updated, skipped, deleted or failed."""

    key: str
    name: str
    outcome: str
    env_workflow_id: str = ""
    former_id: str = ""
    content_hash: str = ""
    version_id: str = ""
    active: bool | None = None
    left: list[dict[str, str]] = field(default_factory=list)
    error: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; what is empty is left out, except the outcome."""
        found = {name: getattr(self, name) for name in self.__slots__}
        return {k: v for k, v in found.items() if v not in ("", [], None) or k in ("key", "name", "outcome")}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Written:
        return cls(**{k: v for k, v in data.items() if k in cls.__slots__})


class _Writer:
    """Carries out one item's content."""

    def __init__(self, client: N8nClient, item: WriteItem, resolver: Resolver) -> None:
        self.client = client
        self.item = item
        self.resolver = resolver
        self.before: Mapping[str, Any] | None = None

    def act(self) -> dict[str, Any]:
        item = self.item
        if item.action == "delete":
            return self._delete().to_dict()
        if item.env_workflow_id and item.action != "create":
            try:
                raw = self.client.get_workflow(item.env_workflow_id)
            except RemoteNotFound:
                if not item.create_if_missing:
                    raise
            else:
                return self._update(raw).to_dict()
        return self._create().to_dict()

    def _update(self, raw: Mapping[str, Any]) -> Written:
        item, there = self.item, str(raw["id"])
        self.before = portable(raw)
        mark = fingerprint(self.before)
        found = self.resolver.hash_of(mark)
        settled = self.resolver.is_settled(mark)
        active = bool(raw.get("active"))
        if found == item.wanted_hash and settled:
            left = self._set_tags(there, raw)
            if item.active is False and active:
                self._switch_off(there)
                active = False
            changed = active != bool(raw.get("active")) or (item.active is True and not active)
            return self._written("updated" if changed else "skipped", raw, found, active, left=left)
        if found != item.wanted_hash and not item.expects(found):
            raise EditedMeanwhile(
                f"“{item.name}” was changed in n8n by somebody else.",
                details={
                    "key": item.key,
                    "env_workflow_id": there,
                    "expected": item.expected_hash,
                    "wanted": item.wanted_hash,
                    "found": found,
                    "version_id": raw.get("versionId"),
                    "updated_at": raw.get("updatedAt"),
                },
            )
        if item.active is False and active:
            self._switch_off(there)
        answer = self._put(there, self.resolver.settle(item.load()), raw, found)
        left = [*answer.not_put_back, *self._set_tags(there, raw)]
        return self._prove("updated", there, answer.workflow, left=left)

    def _put(self, there: str, content: Mapping[str, Any], raw: Mapping[str, Any], before: str) -> WriteResult:
        """``PUT``, again where it certainly changed nothing: the same content twice is the same as once."""
        for attempt in range(PUT_ATTEMPTS):
            try:
                return self.client.update_workflow(there, content, current=raw)
            except AmbiguousWrite:
                now = self.client.get_workflow(there)
                mark = fingerprint(portable(now))
                if self.resolver.hash_of(mark) == self.item.wanted_hash and self.resolver.is_settled(mark):
                    return WriteResult(now)
                if attempt == PUT_ATTEMPTS - 1 or self.resolver.hash_of(mark) != before:
                    raise
        raise AssertionError("unreachable")

    def _switch_off(self, there: str) -> None:
        try:
            self.client.deactivate(there)
        except N8nError:
            if bool(self.client.get_workflow(there).get("active")):
                raise

    def _create(self) -> Written:
        item = self.item
        content = self.resolver.settle(item.load())
        answer = self.client.create_workflow(content)
        there = str(answer.workflow["id"])
        self.resolver.learn(item.key, there, former=item.env_workflow_id)
        left = [*answer.not_put_back, *self._set_tags(there, answer.workflow)]
        return self._prove("created", there, answer.workflow, left=left)

    def _prove(self, outcome: str, there: str, answer: Mapping[str, Any], *, left: list[dict[str, str]]) -> Written:
        """Read back what is there and compare it with what is wanted."""
        item = self.item
        raw = self.client.get_workflow(there)
        found = self.resolver.content_hash(portable(raw))
        if found == item.wanted_hash:
            return self._written(outcome, raw, found, bool(raw.get("active")), left=left)
        details = {
            "key": item.key,
            "env_workflow_id": there,
            "wanted": item.wanted_hash,
            "found": found,
            "version_id": raw.get("versionId"),
            "outcome": outcome,
        }
        ours, now = answer.get("versionId"), raw.get("versionId")
        if ours and now and ours != now:
            raise EditedMeanwhile(f"“{item.name}” was edited in n8n while it was being written.", details=details)
        raise NotAsWritten(f"n8n keeps “{item.name}” otherwise than it was written.", details=details)

    def _delete(self) -> Written:
        item = self.item
        there = item.env_workflow_id or ""
        done = Written(item.key, item.name, "deleted", there, version_id="", active=None)
        try:
            raw = self.client.get_workflow(there)
        except RemoteNotFound:
            return done
        found = self.resolver.content_hash(portable(raw))
        if not item.expects(found):
            raise EditedMeanwhile(
                f"“{item.name}” was edited in n8n, so it is not deleted.",
                details={"key": item.key, "env_workflow_id": there, "expected": item.expected_hash, "found": found},
            )
        self.client.delete(there)
        return done

    def _set_tags(self, there: str, raw: Mapping[str, Any]) -> list[dict[str, str]]:
        """Bring the tags into line; a failure is reported and stops nothing: tags change no behaviour."""
        wanted = self.item.tags
        if wanted is None:
            return []
        present = {str(t.get("name") if isinstance(t, Mapping) else t) for t in raw.get("tags") or ()}
        if present == set(wanted):
            return []
        try:
            self.client.set_tags(there, sorted(set(wanted)))
        except N8nError as error:
            return [{"path": "tags", "reason": error.message}]
        return []

    def _written(
        self, outcome: str, raw: Mapping[str, Any], found: str, active: bool, *, left: list[dict[str, str]]
    ) -> Written:
        item, there = self.item, str(raw["id"])
        former = item.env_workflow_id if item.env_workflow_id and item.env_workflow_id != there else ""
        return Written(
            item.key, item.name, outcome, there, former or "", found, str(raw.get("versionId") or ""), active, left
        )

    # -- looking, when nobody knows ------------------------------------------------------------------------------

    def look(self, intent: dict[str, Any]) -> Looked:
        """Whether the write took place, judged by what is there."""
        item = self.item
        if item.action == "delete":
            try:
                self.client.get_workflow(item.env_workflow_id or "")
            except RemoteNotFound:
                return Looked.done(Written(item.key, item.name, "deleted", item.env_workflow_id or "").to_dict())
            return Looked.not_done()
        if item.env_workflow_id and intent.get("action") != "create":
            try:
                raw = self.client.get_workflow(item.env_workflow_id)
            except RemoteNotFound:
                return self._look_for_new() if item.create_if_missing else Looked.not_done()
            present = portable(raw)
            mark = fingerprint(present)
            found = self.resolver.hash_of(mark)
            if found == item.wanted_hash and self.resolver.is_settled(mark):
                # Tags and switching off belong to the same step: carried through again, they change nothing twice.
                written = self._update(raw)
                written.outcome = "updated"
                return Looked.done(written.to_dict())
            if found == item.wanted_hash or item.expects(found):
                return Looked.not_done()
            if self.before is not None and is_mixture(present, self.before, self.resolver.settle(item.load())):
                raise HalfWritten(
                    details={"key": item.key, "env_workflow_id": item.env_workflow_id, "found": found, "created": False}
                )
            return Looked.unknown(
                key=item.key, expected=item.expected_hash, wanted=item.wanted_hash, found=found,
                version_id=raw.get("versionId"), updated_at=raw.get("updatedAt"),
            )  # fmt: skip
        return self._look_for_new()

    def _look_for_new(self) -> Looked:
        """Find the workflow whose creation got no answer: the name, the content, and nobody's so far."""
        item = self.item
        halves: list[tuple[str, str]] = []
        for raw in workflows_named(self.client, item.name):
            there, present = str(raw["id"]), portable(raw)
            found = self.resolver.content_hash(present)
            if found != item.wanted_hash:
                if is_mixture(present, {}, self.resolver.settle(item.load())):
                    halves.append((there, found))
                continue
            if self.resolver.claim(there):
                self.resolver.learn(item.key, there, former=item.env_workflow_id)
                left = self._set_tags(there, raw)
                return Looked.done(self._written("created", raw, found, bool(raw.get("active")), left=left).to_dict())
        for there, found in halves:
            if self.resolver.claim(there):
                raise HalfWritten(details={"key": item.key, "env_workflow_id": there, "found": found, "created": True})
        return Looked.not_done()


def workflows_named(client: N8nClient, name: str) -> Iterator[Mapping[str, Any]]:
    """Raw workflows with exactly this name. n8n filters where it can; otherwise the whole list is read."""
    if not name:
        for page in client.iter_workflow_pages(cache={}, verify=False):
            yield from (raw for raw in page.items if not raw.get("name"))
        return
    cursor: str | None = None
    while True:
        params = {"limit": 250, "name": name, "cursor": cursor}
        body = client.call("GET", "/workflows", params=params).json()
        yield from (raw for raw in body.get("data") or () if raw.get("name") == name)
        cursor = body.get("nextCursor")
        if not cursor:
            return


def is_mixture(found: Mapping[str, Any], before: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether ``found`` holds nothing that is not in ``before`` or ``wanted``: the trace of a write that broke off.

    A person's edit brings something of its own; one that only takes nodes away looks the same, which is why this is
    asked only right after our own write of the same workflow failed.
    """

    def one_of(key: str, empty: Any) -> bool:
        value = found.get(key) or empty
        return value in ((before.get(key) or empty), (wanted.get(key) or empty))

    if not found.get("nodes") or not one_of("name", "") or not one_of("connections", {}):
        return False
    known = [*(before.get("nodes") or ()), *(wanted.get("nodes") or ())]
    by_name: dict[Any, list[Any]] = {}
    for node in known:
        by_name.setdefault(node.get("name"), []).append(node.get("parameters"))
    return all(node.get("parameters") in by_name.get(node.get("name"), ()) for node in found["nodes"])


def failures(run: Run, *, prefix: str) -> dict[str, dict[str, Any]]:
    """The errors on record of a ``perform`` that failed, by key: what its steps say, whoever ran them."""
    start = f"{prefix}:"
    with tenant_scope(run.tenant_id):
        rows = OperationStep.objects.filter(
            operation_id=run.operation.pk, name__startswith=start, state__in=[StepState.FAILED, StepState.UNKNOWN]
        ).values_list("name", "error")
        return {name.rpartition(":")[2]: error or {} for name, error in rows}


def write_effects(
    client: N8nClient,
    items: Sequence[WriteItem],
    *,
    prefix: str,
    resolver: Resolver,
    tolerant: bool = False,
) -> list[Effect]:
    """One effect per item, ``<prefix>:write:<key>``, in an order that is safe one at a time.

    The result is ``Written.to_dict()``. With ``tolerant`` an item that fails ends as ``{"outcome": "failed"}`` and the
    others go on; without, the first failure is raised. Use ``perform``: it adds the order between chunks, the second
    write for circles, and the switching on.
    """
    return [_write_effect(client, item, prefix=prefix, resolver=resolver, tolerant=tolerant) for item in items]


def _write_effect(client: N8nClient, item: WriteItem, *, prefix: str, resolver: Resolver, tolerant: bool) -> Effect:
    writer = _Writer(client, item, resolver)
    intent = {
        "action": item.action,
        "key": item.key,
        "env_workflow_id": item.env_workflow_id,
        "expected_hash": item.expected_hash,
        "wanted_hash": item.wanted_hash,
        "active": item.active,
        "marker": f"{prefix}:{item.key}",
    }
    act = _tolerant(item, writer.act, writer.look, intent) if tolerant else writer.act
    return Effect(f"{prefix}:write:{item.key}", item.title, intent, act, writer.look)


def _tolerant(
    item: WriteItem, act: Callable[[], Any], look: Callable[[dict[str, Any]], Looked], intent: dict[str, Any]
) -> Callable[[], Any]:
    def go_on() -> Any:
        try:
            return act()
        except UnknownOutcome:
            raise
        except OpsError as error:
            if getattr(error, "ambiguous", False):
                looked = look(intent)
                if looked.state == "done":
                    return looked.result
                if looked.state == "unknown":
                    raise
            return Written(item.key, item.name, "failed", item.env_workflow_id or "", error=error.to_dict()).to_dict()

    return go_on


def _activation(client: N8nClient, item: WriteItem, written: Written, *, prefix: str, tolerant: bool) -> Effect:
    there = written.env_workflow_id

    def act() -> dict[str, Any]:
        try:
            client.activate(there)
        except N8nError as error:
            if getattr(error, "ambiguous", False):
                raise
            if not bool(client.get_workflow(there).get("active")):
                raise NotActivated(
                    f"“{item.name}” could not be switched on: {error.message}",
                    details={"key": item.key, "env_workflow_id": there, "cause": error.to_dict()},
                ) from error
        if not bool(client.get_workflow(there).get("active")):
            raise NotActivated(
                f"n8n says that “{item.name}” was switched on, but it is not.",
                details={"key": item.key, "env_workflow_id": there},
            )
        return Written(item.key, item.name, written.outcome, there, active=True).to_dict()

    def look(_intent: dict[str, Any]) -> Looked:
        if bool(client.get_workflow(there).get("active")):
            return Looked.done(Written(item.key, item.name, written.outcome, there, active=True).to_dict())
        return Looked.not_done()

    intent = {"action": "activate", "key": item.key, "env_workflow_id": there}
    acting = _tolerant(item, act, look, intent) if tolerant else act
    return Effect(f"{prefix}:activate:{item.key}", f"Switch on {item.name or item.key}", intent, acting, look)


def creation_levels(items: Sequence[WriteItem]) -> tuple[list[list[WriteItem]], set[str]]:
    """New workflows in levels, the called before the callers, and the keys that need a second write (circles)."""
    waiting = {item.key: item for item in items}
    needs = {key: item.needed_keys() & waiting.keys() for key, item in waiting.items()}
    levels: list[list[WriteItem]] = []
    again: set[str] = set()
    while waiting:
        ready = [key for key in waiting if not (needs[key] & waiting.keys())]
        if not ready:
            # A circle: the one that waits for the fewest goes first and gets its references later.
            first = min(waiting, key=lambda key: (len(needs[key] & waiting.keys()), key))
            again.add(first)
            ready = [first]
        levels.append([waiting.pop(key) for key in sorted(ready)])
    return levels, again


def perform(
    run: Run,
    client: N8nClient,
    items: Sequence[WriteItem],
    *,
    prefix: str,
    resolver: Resolver,
    concurrency: int = CONCURRENCY,
    tolerant: bool = False,
    on_created: Callable[[Mapping[str, str]], None] | None = None,
) -> dict[str, Written]:
    """Carry out items in the order that the module's head explains; what became of each, by key.

    Safe to begin again: what is done is answered from the steps. ``on_created(key → id)`` is called after each level
    of creations, so that the caller can put the new ids on record before anything else. Raises the first failure
    (``EditedMeanwhile``, ``NotAsWritten``, ``NotActivated``, ``N8nError``, ``UnknownOutcome``) unless ``tolerant``.
    """
    results: dict[str, Written] = {}
    by_key = {item.key: item for item in items}
    total, done = len(items), 0

    def carry_out(batch: Sequence[WriteItem], note: str) -> None:
        nonlocal done
        made: dict[str, str] = {}
        for start in range(0, len(batch), CHUNK):
            part = batch[start : start + CHUNK]
            run.progress(done, total, note)
            effects = write_effects(client, part, prefix=prefix, resolver=resolver, tolerant=tolerant)
            answers = run.effects(effects, concurrency=concurrency, chunk=CHUNK)
            for item in part:
                written = Written.from_dict(answers[f"{prefix}:write:{item.key}"])
                results[item.key] = written
                if written.outcome == "created":
                    resolver.learn(item.key, written.env_workflow_id, former=written.former_id or item.env_workflow_id)
                    made[item.key] = written.env_workflow_id
            done += len(part)
        if made and on_created is not None:
            on_created(made)

    creates = [i for i in items if i.action == "create"]
    levels, again = creation_levels(creates)
    for level in levels:
        carry_out(level, "Creating workflows")
    carry_out([i for i in items if i.action == "update"], "Writing workflows")
    _relink(run, client, by_key, again, results, prefix=prefix, resolver=resolver, tolerant=tolerant)
    _switch_on(run, client, by_key, results, prefix=prefix, concurrency=concurrency, tolerant=tolerant)
    carry_out([i for i in items if i.action == "delete"], "Deleting workflows")
    return results


def _relink(
    run: Run,
    client: N8nClient,
    by_key: Mapping[str, WriteItem],
    again: Collection[str],
    results: Mapping[str, Written],
    *,
    prefix: str,
    resolver: Resolver,
    tolerant: bool,
) -> None:
    """Second writes: members of a circle, and callers of what turned out to be gone and was created anew."""
    moved = {w.former_id for w in results.values() if w.outcome == "created" and w.former_id}
    effects = []
    for key, item in by_key.items():
        written = results.get(key)
        if written is None or written.outcome == "failed" or item.action == "delete":
            continue
        if key not in again and not (moved and _calls(item, moved)):
            continue
        second = WriteItem(
            key=key,
            name=item.name,
            title=f"Connect {item.name or key} with what it calls",
            action="update",
            env_workflow_id=written.env_workflow_id,
            content=item.content,
            wanted_hash=item.wanted_hash,
            expected_hash=item.wanted_hash,
            create_if_missing=False,
        )
        effects.append(_write_effect(client, second, prefix=f"{prefix}:link", resolver=resolver, tolerant=tolerant))
    if effects:
        run.effects(effects, concurrency=CONCURRENCY, chunk=CHUNK)


def _calls(item: WriteItem, ids: Collection[str]) -> bool:
    return any(r.kind == "workflow" and r.value in ids for r in references(item.load()))


def _switch_on(
    run: Run,
    client: N8nClient,
    by_key: Mapping[str, WriteItem],
    results: dict[str, Written],
    *,
    prefix: str,
    concurrency: int,
    tolerant: bool,
) -> None:
    effects, keys = [], []
    for key, item in by_key.items():
        written = results.get(key)
        if written is None or item.active is not True or written.outcome in ("failed", "deleted"):
            continue
        if written.active:
            continue
        effects.append(_activation(client, item, written, prefix=prefix, tolerant=tolerant))
        keys.append(key)
    if not effects:
        return
    answers = run.effects(effects, concurrency=concurrency, chunk=CHUNK)
    for key in keys:
        after = Written.from_dict(answers[f"{prefix}:activate:{key}"])
        if after.outcome == "failed":
            results[key].outcome, results[key].error = "failed", after.error
        else:
            results[key].active = True


# -- webhook addresses ------------------------------------------------------------------------------------------------


def webhook_clashes(wanted: Mapping[str, Iterable[str]], present: Mapping[str, Iterable[str]]) -> list[dict[str, Any]]:
    """Addresses that two active workflows would listen on; n8n says nothing about it and one of them goes deaf.

    Both map keys of *active* workflows to their addresses (``POST orders/new``); ``present`` are those that stay as
    they are. Returns ``[{"address", "keys"}]``, sorted.
    """
    listeners: dict[str, set[str]] = {}
    for side in (present, wanted):
        for key, addresses in side.items():
            for address in addresses:
                methods, _, path = address.partition(" ")
                for method in methods.split("|"):
                    listeners.setdefault(f"{method} {path}", set()).add(key)
    touched = set(wanted)
    return [
        {"address": address, "keys": sorted(keys)}
        for address, keys in sorted(listeners.items())
        if len(keys) > 1 and keys & touched
    ]
