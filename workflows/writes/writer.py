"""One workflow: read, compare, write, read back; and the look where nobody knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from operations.effects import Looked
from workflows.content import ContentError, fingerprint, portable
from workflows.n8n.client import WriteResult
from workflows.n8n.errors import AmbiguousWrite, N8nError, RemoteNotFound

from .errors import EditedMeanwhile, HalfWritten, NotAsWritten
from .items import WriteItem, Written
from .resolver import Resolver

if TYPE_CHECKING:
    from workflows.n8n.client import N8nClient

PUT_ATTEMPTS = 3


class Writer:
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
        if found != item.wanted_hash and item.was_switched(active):
            raise EditedMeanwhile(
                f"“{item.name}” was switched {'on' if active else 'off'} in n8n by somebody else.",
                details={"key": item.key, "env_workflow_id": there, "found": found, "switched": True, "active": active},
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
        try:
            return self._prove("created", there, answer.workflow, left=left)
        except N8nError as error:
            # It is there, though nobody could look: whoever puts things back must know its id.
            error.details |= {"key": item.key, "env_workflow_id": there, "outcome": "created"}
            raise

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
        for raw in self.client.workflows_named(item.name):
            try:
                there, present = str(raw["id"]), portable(raw)
            except ContentError:
                continue
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
