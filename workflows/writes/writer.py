"""Writing one workflow: read, compare, write, read back; and probing where the outcome is unknown.

Where the instance can save a draft beside what runs (``stage``), a published workflow is not touched here: its new
content waits as a draft, and ``publishing`` lets it run. Elsewhere the write is live at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from operations.effects import ProbeResult
from workflows.content import ContentError, fingerprint, portable
from workflows.n8n.client import WriteResult
from workflows.n8n.errors import AmbiguousWrite, N8nError, RemoteNotFound
from workflows.references import can_be_called

from .errors import Archived, EditedMeanwhile, HalfWritten, NotAsWritten
from .items import WriteItem, Written, named_once
from .mixture import is_mixture
from .placement import place
from .resolver import Resolver
from .there import There, framed_alike, residues, under

if TYPE_CHECKING:
    from workflows.n8n.client import N8nClient

PUT_ATTEMPTS = 3
_LEFT_ALONE = {"path": "draft", "reason": "Somebody is editing it in n8n; their draft is left alone."}


class Writer:
    """Carries out one item's content.

    ``resting``: its callers have been cut over, so that it may be unpublished. ``listed``: as just listed by n8n.
    """

    def __init__(
        self,
        client: N8nClient,
        item: WriteItem,
        resolver: Resolver,
        *,
        resting: bool = False,
        listed: Mapping[str, Any] | None = None,
    ) -> None:
        self.client = client
        self.item = item
        self.resolver = resolver
        self.resting = resting
        self.listed = listed
        self.before: Mapping[str, Any] | None = None

    def act(self) -> dict[str, Any]:
        """Create, update or delete; the ``Written`` as JSON. Raises an error of this package, or ``N8nError``."""
        item = self.item
        if item.action == "delete":
            return self._delete().to_json()
        if item.env_workflow_id and item.action != "create":
            try:
                raw = self._listed_to_go_back() or self.client.get_workflow(item.env_workflow_id)
            except RemoteNotFound:
                if not item.create_if_missing:
                    raise
            else:
                return self._update(raw).to_json()
        return self._create().to_json()

    # -- what is there already ----------------------------------------------------------------------------------

    def _update(self, raw: Mapping[str, Any]) -> Written:
        there = There.read(raw, self.resolver)
        self.before = there.content
        is_right = self._is_right(there)
        ends_unpublished = self._ends_unpublished(there)
        if not is_right:
            self._refuse_edited(there)
            if not ends_unpublished and self._can_go_back(there):
                return self._go_back(there)
        if not is_right or ends_unpublished:
            self._refuse_drafted(there)
        if ends_unpublished and self._is_waited_for(there):
            return self._rest_later(there, is_right)
        there, changed = self._brought_out(there, is_right)
        if self._is_right(there) if changed else is_right:  # unpublished, the draft is the content
            return self._leave_content(there, raw, changed)
        return self._replace_content(there, raw)

    def _ends_unpublished(self, there: There) -> bool:
        """Whether it runs now and is not to run afterwards."""
        return there.published and (self.item.active is False or self.item.archived is True)

    def _leave_content(self, there: There, raw: Mapping[str, Any], changed: bool) -> Written:
        """The content is there already: only tags and folder are set."""
        left = [*residues(there.content, self.item.load(), self.client.spec()), *place(self.client, self.item, raw)]
        if there.published and self._is_foreign_draft(there):
            left.append(_LEFT_ALONE)
        changed = changed or (self.item.active is True and not there.published)
        return self._written("updated" if changed else "skipped", there, left=left)

    def _replace_content(self, there: There, raw: Mapping[str, Any]) -> Written:
        if there.published and self.client.spec().can("stage"):
            return self._stage(there)
        answer = self._put(there, self.resolver.settle(self.item.load()))
        left = [*answer.omitted, *place(self.client, self.item, raw)]
        return self._prove("updated", there.id, answer.workflow, left=left)

    def _is_waited_for(self, there: There) -> bool:
        """Whether something may call it that is still to be cut over: this n8n runs only what is published."""
        return not self.resting and self.client.spec().can("activate_version") and can_be_called(there.content)

    def _rest_later(self, there: There, is_right: bool) -> Written:
        """Leave it running for now; where the instance can, its new content is saved and proven already."""
        can_wait = not is_right and not there.archived and self.client.spec().can("stage")
        written = self._stage(there) if can_wait else self._written("updated", there, left=[])
        written.rests, written.calls = True, list(dict.fromkeys(there.fingerprint.workflow_refs))
        return written

    def _is_right(self, there: There) -> bool:
        """Whether there is nothing to write: content, calls, and the settings that no hash covers, are as wanted."""
        if there.hash != self.item.wanted_hash or not there.settled:
            return False
        return framed_alike(there.content, self.item.load(), self.client.spec())

    def _refuse_edited(self, there: There) -> None:
        """Refuse what is neither the expected nor the wanted content: it is somebody else's edit."""
        item = self.item
        details = {
            "key": item.key,
            "env_workflow_id": there.id,
            "expected": item.expected_hash,
            "wanted": item.wanted_hash,
            "found": there.hash,
            "version_id": there.version_id,
            "updated_at": there.raw.get("updatedAt"),
        }
        if there.hash != item.wanted_hash and not item.expects(there.hash):
            raise EditedMeanwhile(f"“{item.name}” was changed in n8n by somebody else.", details=details)
        if there.hash != item.wanted_hash and item.was_switched(there.published):
            raise EditedMeanwhile(
                f"“{item.name}” was {'published' if there.published else 'unpublished'} in n8n by somebody else.",
                details={**details, "switched": True, "active": there.published},
            )

    def _refuse_drafted(self, there: There) -> None:
        """Refuse to overwrite an unexpected draft: it is somebody's work, too."""
        item = self.item
        if not self._is_foreign_draft(there):
            return
        raise EditedMeanwhile(
            f"Somebody is editing “{item.name}” in n8n: its draft is not the one that was compared.",
            details={
                "key": item.key,
                "env_workflow_id": there.id,
                "wanted": item.wanted_hash,
                "found": there.hash,
                "draft": there.draft_hash,
                "version_id": there.version_id,
            },
        )

    def _is_foreign_draft(self, there: There) -> bool:
        item = self.item
        ours = (item.wanted_hash, item.wanted_draft_hash, self._hash_as_staged(there))
        return not item.expects_draft(there.draft_hash) and there.draft_hash not in ours

    def _listed_to_go_back(self) -> Mapping[str, Any] | None:
        """The workflow as just listed, where its former version can simply be published again; else None."""
        if self.listed is None:
            return None
        there = There.read(self.listed, self.resolver)
        is_ours = there.published and self.item.expects(there.hash) and not self._is_foreign_draft(there)
        return self.listed if is_ours and not self._is_right(there) and self._can_go_back(there) else None

    def _can_go_back(self, there: There) -> bool:
        """Whether n8n may still have the version that ran, and everything it calls still has the same id."""
        if not there.published or not self.item.live_version_id or not self.client.spec().can("stage"):
            return False
        return self.resolver.is_settled(fingerprint(self.item.load()))

    def _go_back(self, there: There) -> Written:
        """Nothing to write: n8n still has the version that ran, and ``publishing`` lets it run again.

        A draft that somebody is working on stays as it is and is reported.
        """
        left = place(self.client, self.item, there.raw)
        if self._is_foreign_draft(there):
            left.append(_LEFT_ALONE)
        written = self._written("updated", there, left=left)
        written.staged = self.item.live_version_id
        wanted = self.resolver.settle(self.item.load())
        written.holds_back = not framed_alike(there.content, wanted, self.client.spec())
        written.leaves_draft = self.resolver.content_hash(under(there.editor, wanted))
        return written

    def _hash_as_staged(self, there: There) -> str:
        """The hash of the draft that our own write leaves while the old name and settings still count."""
        return self.resolver.content_hash(under(self.resolver.settle(self.item.load()), there.content))

    def _brought_out(self, there: There, is_right: bool) -> tuple[There, bool]:
        """Unarchive and unpublish, where that is wanted, before the content changes; whether anything was changed."""
        item, changed = self.item, False
        if there.archived and (not is_right or item.archived is False):  # n8n writes nothing into its archive
            if not self.client.spec().can("unarchive"):
                raise Archived(
                    f"“{item.name}” is archived in n8n, and this version cannot take it out by its API.",
                    details={"key": item.key, "env_workflow_id": there.id},
                )
            self.client.unarchive(there.id)
            changed = True
        if there.published and (item.active is False or item.archived is True):
            self._unpublish(there.id)
            changed = True
        return (There.read(self.client.get_workflow(there.id), self.resolver) if changed else there), changed

    def _unpublish(self, there: str) -> None:
        try:
            self.client.unpublish(there)
        except N8nError:
            if bool(self.client.get_workflow(there).get("active")):
                raise

    def _stage(self, there: There) -> Written:
        """The new content as a draft beside what runs; name and settings wait, since n8n would use them at once."""
        wanted = self.resolver.settle(self.item.load())
        left: list[dict[str, str]] = []
        if not self._is_staged(there, wanted):
            answer = self._put(there, under(wanted, there.content), publish=False)
            left = answer.omitted
        left += place(self.client, self.item, there.raw)
        now = There.read(self.client.get_workflow(there.id), self.resolver)
        details = {"key": self.item.key, "env_workflow_id": there.id, "wanted": self.item.wanted_hash}
        if now.hash != there.hash:
            raise EditedMeanwhile(
                f"What runs of “{self.item.name}” changed while its new version was being saved.",
                details={**details, "found": now.hash},
            )
        if not self._is_staged(now, wanted):
            found = self.resolver.content_hash(under(now.editor, wanted))
            raise NotAsWritten(
                f"n8n keeps the draft of “{self.item.name}” otherwise than it was written.",
                details={**details, "found": now.hash, "draft": now.draft_hash, "staged": found},
            )
        written = self._written("updated", now, left=left)
        written.staged, written.holds_back = now.version_id, not framed_alike(there.content, wanted, self.client.spec())
        return written

    def _is_staged(self, there: There, wanted: Mapping[str, Any]) -> bool:
        staged = fingerprint(under(there.editor, wanted))
        return self.resolver.hash_of(staged) == self.item.wanted_hash and self.resolver.is_settled(staged)

    def _put(self, there: There, content: Mapping[str, Any], *, publish: bool = True) -> WriteResult:
        """``PUT``, again where it certainly changed nothing: the same content twice is the same as once.

        The cursors of polling triggers (static data) belong to what runs and never go back.
        """
        kept = {name: value for name, value in content.items() if name != "staticData"}
        wanted = self.resolver.content_hash(content)
        for attempt in range(PUT_ATTEMPTS):
            try:
                return self.client.update_workflow(there.id, kept, current=there.raw, publish=publish)
            except AmbiguousWrite:
                now = There.read(self.client.get_workflow(there.id), self.resolver)
                if self.resolver.content_hash(now.editor) == wanted and self.resolver.is_settled(
                    fingerprint(now.editor)
                ):
                    return WriteResult(dict(now.raw))
                if attempt == PUT_ATTEMPTS - 1 or (now.hash, now.draft_hash) != (there.hash, there.draft_hash):
                    raise
        raise AssertionError("unreachable")

    # -- what is new --------------------------------------------------------------------------------------------

    def _create(self) -> Written:
        item = self.item
        content = self.resolver.settle(item.load())
        answer = self.client.create_workflow(content)
        workflow_id = str(answer.workflow["id"])
        self.resolver.learn(item.key, workflow_id, former=item.env_workflow_id)
        left = [*answer.omitted, *place(self.client, item, answer.workflow)]
        try:
            return self._prove("created", workflow_id, answer.workflow, left=left)
        except N8nError as error:
            # It was created, though it could not be read back: whoever undoes the write needs its id.
            error.details |= {"key": item.key, "env_workflow_id": workflow_id, "outcome": "created"}
            raise

    def _prove(
        self, outcome: str, workflow_id: str, answer: Mapping[str, Any], *, left: list[dict[str, str]]
    ) -> Written:
        """Read back what is there and compare it with what is wanted."""
        item = self.item
        there = There.read(self.client.get_workflow(workflow_id), self.resolver)
        if there.hash == item.wanted_hash:
            more = residues(there.content, item.load(), self.client.spec())
            return self._written(outcome, there, left=named_once([*left, *more]))
        details = {
            "key": item.key,
            "env_workflow_id": workflow_id,
            "wanted": item.wanted_hash,
            "found": there.hash,
            "version_id": there.version_id,
            "outcome": outcome,
        }
        ours, now = answer.get("versionId"), there.raw.get("versionId")
        if ours and now and ours != now:
            raise EditedMeanwhile(f"“{item.name}” was edited in n8n while it was being written.", details=details)
        raise NotAsWritten(f"n8n keeps “{item.name}” otherwise than it was written.", details=details)

    def _delete(self) -> Written:
        item = self.item
        workflow_id = item.env_workflow_id or ""
        done = Written(item.key, item.name, "deleted", workflow_id)
        try:
            raw = self.client.get_workflow(workflow_id)
        except RemoteNotFound:
            return done
        there = There.read(raw, self.resolver)
        found = there.hash
        if not item.expects(found) or not item.expects_draft(there.draft_hash):
            raise EditedMeanwhile(
                f"“{item.name}” was edited in n8n, so it is not deleted.",
                details={
                    "key": item.key,
                    "env_workflow_id": workflow_id,
                    "expected": item.expected_hash,
                    "found": found,
                },
            )
        if raw.get("active"):
            self._unpublish(workflow_id)
        self.client.delete(workflow_id)
        return done

    def _written(self, outcome: str, there: There, *, left: list[dict[str, str]]) -> Written:
        item = self.item
        former = item.env_workflow_id if item.env_workflow_id and item.env_workflow_id != there.id else ""
        return Written(
            item.key,
            item.name,
            outcome,
            there.id,
            former or "",
            there.hash,
            there.version_id,
            live_version_id=there.live_version_id,
            draft_hash=there.draft_hash or "",
            active=there.published,
            left=left,
        )

    # -- probing, where the outcome is unknown -------------------------------------------------------------------------

    def look(self, intent: dict[str, Any]) -> ProbeResult:
        """Whether the write took place, judged by what is there."""
        item = self.item
        if item.action == "delete":
            try:
                self.client.get_workflow(item.env_workflow_id or "")
            except RemoteNotFound:
                return ProbeResult.done(Written(item.key, item.name, "deleted", item.env_workflow_id or "").to_json())
            return ProbeResult.not_done()
        if item.env_workflow_id and intent.get("action") != "create":
            try:
                raw = self.client.get_workflow(item.env_workflow_id)
            except RemoteNotFound:
                return self._look_for_new() if item.create_if_missing else ProbeResult.not_done()
            return self._look_at(There.read(raw, self.resolver))
        return self._look_for_new()

    def _look_at(self, there: There) -> ProbeResult:
        item = self.item
        if there.hash == item.wanted_hash and there.settled:
            # Tags and unpublishing belong to the same step; done again, they change nothing.
            written = self._update(there.raw)
            written.outcome = "updated"
            return ProbeResult.done(written.to_json())
        if there.hash == item.wanted_hash or item.expects(there.hash):
            return ProbeResult.not_done()
        if self.before is not None and is_mixture(there.content, self.before, self.resolver.settle(item.load())):
            raise HalfWritten(
                details={"key": item.key, "env_workflow_id": there.id, "found": there.hash, "created": False}
            )
        return ProbeResult.unknown(
            key=item.key, expected=item.expected_hash, wanted=item.wanted_hash, found=there.hash,
            version_id=there.raw.get("versionId"), updated_at=there.raw.get("updatedAt"),
        )  # fmt: skip

    def _look_for_new(self) -> ProbeResult:
        """Find the workflow whose creation got no answer: of this name and content, and not known yet."""
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
                left = place(self.client, item, raw)
                return ProbeResult.done(self._written("created", There.read(raw, self.resolver), left=left).to_json())
        for there, found in halves:
            if self.resolver.claim(there):
                raise HalfWritten(details={"key": item.key, "env_workflow_id": there, "found": found, "created": True})
        return ProbeResult.not_done()
