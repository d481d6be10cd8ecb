"""What follows once every content is written: publishing versions, writing drafts beside them, archiving.

Each is an effect with an intent before and a probe after. Publishing the same version twice is the same as once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from operations.effects import ProbeResult
from workflows.content import ContentError
from workflows.n8n.errors import N8nError, Rejected
from workflows.webhook_addresses import production_addresses, varies

from .errors import EditedMeanwhile, NotActivated
from .items import WriteItem, Written
from .resolver import Resolver
from .there import There, framed_alike, residues, under

if TYPE_CHECKING:
    from workflows.n8n.client import N8nClient

LOOKS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0)
"""Seconds before each look whether n8n has taken a version over."""
LISTENING_LOOKS = (0.0, 0.25, 0.5, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0, 8.0, 8.0)
"""Seconds before each look whether an address answers; healthy ones took 0.7 to 4.3 s on 2.41.1."""


class Publisher:
    """Publishes one item's content."""

    def __init__(
        self,
        client: N8nClient,
        item: WriteItem,
        written: Written,
        resolver: Resolver,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.client, self.item, self.written, self.resolver = client, item, written, resolver
        self.id = written.env_workflow_id
        self._sleep = sleep
        self._refused = ""

    def act(self) -> dict[str, Any]:
        """Publish; the ``Written`` as JSON. Raises ``NotActivated``, ``EditedMeanwhile`` or ``N8nError``."""
        now = self._cut_over() or self._with_care()
        if self._refused:
            return self._rests(now).to_json()
        if not self._is_live(now):
            raise NotActivated(
                f"n8n says that “{self.item.name}” was published, but it is not.",
                details={"key": self.item.key, "env_workflow_id": self.id, "found": now.hash},
            )
        return self._done(now).to_json()

    def look(self, _intent: dict[str, Any]) -> ProbeResult:
        """Whether what is wanted runs now."""
        now = self._read()
        return ProbeResult.done(self._done(now).to_json()) if self._is_live(now) else ProbeResult.not_done()

    def _read(self) -> There:
        return There.read(self.client.get_workflow(self.id), self.resolver)

    def _is_live(self, there: There) -> bool:
        """What runs is what is wanted, and calls what is there now."""
        return there.published and there.hash == self.item.wanted_hash and there.settled

    def _cut_over(self) -> There | None:
        """One call where the version is known by its id; None where that was not enough.

        Old and new run side by side while workflow after workflow is published: nothing else is asked meanwhile.
        """
        version_id = self._proven_version()
        if not version_id:
            return None
        answer = self._call(version_id, gives_up=not self.item.live_version_id)
        if answer is None:
            return self._read() if self._refused else None
        if self._frame_waits():
            self._name_and_settings()
        elif (now := self._understood(answer)) is not None and self._is_live(now):
            return now
        now = self._settled_down()
        return now if self._is_live(now) or not self.item.live_version_id else None

    def _proven_version(self) -> str:
        """The version that was read back and hashed, or ran before; empty where publishing takes no version."""
        spec = self.client.spec()
        if self.written.staged or (self.item.live_version_id and spec.can("publish")):
            return self.written.staged or self.item.live_version_id
        is_right = self.written.content_hash == self.item.wanted_hash
        return self.written.version_id if is_right and spec.can("activate_version") else ""

    def _frame_waits(self) -> bool:
        """Whether name and settings are to be written once the version runs, or have not been compared yet."""
        return self.written.holds_back or bool(self.item.live_version_id and not self.written.staged)

    def _understood(self, answer: Mapping[str, Any]) -> There | None:
        try:
            return There.read(answer, self.resolver)
        except (ContentError, KeyError):
            return None

    def _with_care(self) -> There:
        if self._is_live(now := self._read()):
            return now
        self._publish(now)
        return self._settled_down()

    def _publish(self, now: There) -> None:
        if self.item.live_version_id and self.client.spec().can("publish"):
            now = self._stage_anew()
        elif now.hash != self.item.wanted_hash:
            raise EditedMeanwhile(
                f"“{self.item.name}” was edited in n8n before it could be published.",
                details={"key": self.item.key, "env_workflow_id": self.id, "found": now.hash},
            )
        self._call(now.version_id or None)
        self._name_and_settings()

    def _stage_anew(self) -> There:
        """n8n no longer has the version that ran (it forgets old ones): its content becomes the draft."""
        now = self._read()
        ours = (self.item.wanted_hash, self.item.wanted_draft_hash, self.written.leaves_draft or None)
        is_foreign = not self.item.expects_draft(now.draft_hash) and now.draft_hash not in ours
        if is_foreign or any(left.get("path") == "draft" for left in self.written.left):
            raise EditedMeanwhile(
                f"n8n no longer has the version of “{self.item.name}” that ran, and somebody is editing its draft.",
                details={"key": self.item.key, "env_workflow_id": self.id, "version_id": now.version_id},
            )
        content = under(self.resolver.settle(self.item.load()), now.content)
        content.pop("staticData", None)
        self.client.update_workflow(self.id, content, current=now.raw, publish=False)
        return self._read()

    def _call(self, version_id: str | None, *, gives_up: bool = True) -> Mapping[str, Any] | None:
        """n8n's answer; None where it refuses, and there is another way or the item may stay unpublished."""
        release = self.item.release
        try:
            return self.client.publish(
                self.id, version_id=version_id, name=release.name, description=release.description
            )
        except N8nError as error:
            if getattr(error, "ambiguous", False):
                raise
            if isinstance(error, Rejected) and self.item.may_rest and not self._read().published:
                self._refused = error.message
            elif gives_up and not self._is_live(self._read()):
                raise NotActivated(
                    f"“{self.item.name}” could not be published: {error.message}",
                    details={"key": self.item.key, "env_workflow_id": self.id, "cause": error.to_dict()},
                ) from error
            return None

    def _rests(self, there: There) -> Written:
        """The outcome of an item that stays as it was created: complete and unpublished."""
        left = [{"path": "published", "reason": self._refused}]
        if self.item.wanted_draft_hash:
            left.append({"path": "draft", "reason": "It stands beside what is published, and nothing is."})
        return msgspec.structs.replace(self._done(there), active=False, listening={}, left=left)

    def _name_and_settings(self) -> None:
        """Write name and settings, which have no versions, right after the version that they belong to is published."""
        wanted, now = self.resolver.settle(self.item.load()), self._read()
        if framed_alike(now.content, wanted, self.client.spec()):
            return
        content = under(now.editor, wanted)
        content.pop("staticData", None)
        self.client.update_workflow(self.id, content, current=now.raw, publish=False)

    def _settled_down(self) -> There:
        for wait in LOOKS:
            self._sleep(wait)
            now = self._read()
            if self._is_live(now):
                break
        return now

    def _done(self, there: There) -> Written:
        return Written(
            self.item.key,
            self.item.name,
            self.written.outcome,
            self.id,
            content_hash=there.hash,
            version_id=there.version_id,
            live_version_id=there.live_version_id,
            draft_hash=there.draft_hash or "",
            active=True,
            left=residues(there.content, self.item.load(), self.client.spec()),
            listening=dict.fromkeys(addresses_of(there.content, there.id), "unknown"),
        )


class DraftKeeper:
    """Writes the draft of one item beside what runs, or removes a foreign one; what runs stays as it is."""

    def __init__(self, client: N8nClient, item: WriteItem, written: Written, resolver: Resolver) -> None:
        self.client, self.item, self.written, self.resolver = client, item, written, resolver

    def act(self) -> dict[str, Any]:
        """Write the draft; the ``Written`` as JSON, with what could not be written in ``left``."""
        there = There.read(self.client.get_workflow(self.written.env_workflow_id), self.resolver)
        if self.written.active and not there.published:
            there = self._carry_on(there)
        left: list[dict[str, str]] = []
        if not self._is_kept(there):
            if self._is_foreign(there):
                left = [{"path": "draft", "reason": "Somebody is editing it in n8n; their draft is left alone."}]
            else:
                left = self._put(there)
                there = There.read(self.client.get_workflow(there.id), self.resolver)
                if not self._is_kept(there) and not left:
                    left = [{"path": "draft", "reason": "n8n keeps the draft otherwise than it was written."}]
        return Written(
            self.item.key,
            self.item.name,
            "updated",
            there.id,
            content_hash=there.hash,
            version_id=there.version_id,
            live_version_id=there.live_version_id,
            draft_hash=there.draft_hash or "",
            active=there.published,
            left=left,
        ).to_json()

    def look(self, _intent: dict[str, Any]) -> ProbeResult:
        """Whether the wanted draft is there, and what ran still runs."""
        there = There.read(self.client.get_workflow(self.written.env_workflow_id), self.resolver)
        if there.published == bool(self.written.active) and self._is_kept(there):
            return ProbeResult.done(self.act())
        return ProbeResult.not_done()

    def _is_foreign(self, there: There) -> bool:
        """Whether the draft is neither one that may be overwritten nor one that our own publishing has left."""
        ours = (self.item.wanted_hash, self.written.leaves_draft or None)
        return not self.item.expects_draft(there.draft_hash) and there.draft_hash not in ours

    def _is_kept(self, there: There) -> bool:
        return there.draft_hash == self.item.wanted_draft_hash

    def _put(self, there: There) -> list[dict[str, str]]:
        wanted = self.item.load_draft()
        content = self.resolver.settle(wanted) if wanted is not None else dict(there.content)
        content = {name: value for name, value in under(content, there.content).items() if name != "staticData"}
        spec = self.client.spec()
        if spec.can("stage"):
            return self.client.update_workflow(there.id, content, current=there.raw, publish=False).omitted
        if wanted is None:
            return self.client.update_workflow(there.id, content, current=there.raw).omitted
        version_id = self.written.live_version_id
        if not spec.can("activate_version") or not version_id:
            return [{"path": "draft", "reason": "This version of n8n keeps no draft beside what runs."}]
        # A write to a published workflow is live at once here. That nothing runs for a moment is better than a draft.
        self.client.unpublish(there.id)
        try:
            return self.client.update_workflow(there.id, content, current=there.raw).omitted
        finally:
            self.client.publish(there.id, version_id=version_id)

    def _carry_on(self, there: There) -> There:
        """Resume after an interruption while nothing ran: write the draft, if need be, and publish again what ran."""
        wanted = self.item.load_draft()
        if wanted is not None and there.hash != self.item.wanted_draft_hash:
            content = under(self.resolver.settle(wanted), there.content)
            content.pop("staticData", None)
            self.client.update_workflow(there.id, content, current=there.raw)
        self.client.publish(there.id, version_id=self.written.live_version_id or None)
        return There.read(self.client.get_workflow(there.id), self.resolver)


class Archiver:
    """Archives one item in n8n."""

    def __init__(self, client: N8nClient, item: WriteItem, written: Written) -> None:
        self.client, self.item, self.written = client, item, written

    def act(self) -> dict[str, Any]:
        raw = self.client.get_workflow(self.written.env_workflow_id)
        left: list[dict[str, str]] = []
        if not raw.get("isArchived"):
            if self.client.spec().can("archive"):
                self.client.archive(self.written.env_workflow_id)
            else:
                left = [{"path": "archived", "reason": "This version of n8n does not archive by its API."}]
        return Written(
            self.item.key, self.item.name, "updated", self.written.env_workflow_id, active=False, left=left
        ).to_json()

    def look(self, _intent: dict[str, Any]) -> ProbeResult:
        raw = self.client.get_workflow(self.written.env_workflow_id)
        return ProbeResult.done(self.act()) if raw.get("isArchived") else ProbeResult.not_done()


def heard(
    client: N8nClient,
    addresses: Mapping[str, Iterable[str]],
    *,
    check: Callable[[], None] = lambda: None,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, dict[str, str]]:
    """For the production addresses of each published workflow (by key): whether n8n answers there.

    Waits for those that do not answer yet, all together, for about half a minute at most.
    """
    waiting = {(key, address) for key, listed in addresses.items() for address in listed}
    found: dict[str, dict[str, str]] = {}
    for wait in LISTENING_LOOKS:
        if not waiting:
            break
        sleep(wait)
        check()
        for key, address in sorted(waiting):
            answer = client.listening(address)
            found.setdefault(key, {})[address] = answer
            if answer != "absent":
                waiting.discard((key, address))
    return found


def addresses_of(content: Mapping[str, Any], workflow_id: str) -> list[str]:
    """The production addresses of a workflow, as n8n holds it, that can be asked about."""
    return [address for address in production_addresses(content, workflow_id) if not varies(address)]
