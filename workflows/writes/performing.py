"""Carries out items in a safe order: creations, updates, circles, publishing, deletions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from core.errors import OpsError
from operations.effects import Effect
from operations.engine import Run
from operations.errors import TryAgain
from operations.models import OperationStep, StepState
from tenants.scope import tenant_scope
from workflows.content import ContentError, portable
from workflows.identity_keys import canonical_ids
from workflows.n8n.errors import N8nError
from workflows.references import references
from workflows.watching import noting

from .effects import archiving, keeping_draft, publishing, resting, write_effect, write_effects
from .errors import NotActivated
from .items import WriteItem, Written, named_once, pending
from .lease import note_outage, wait_for_lease
from .publishing import heard
from .target import WriteTarget

if TYPE_CHECKING:
    from workflows.n8n.client import N8nClient

CHUNK = 64
LISTED_FROM, LISTED_AT_MOST = 8, 500


def creation_levels(items: Sequence[WriteItem]) -> tuple[list[list[WriteItem]], set[str]]:
    """New workflows in levels, the called before the callers, and the keys that need a second write (circles)."""
    return _levels({item.key: item for item in items}, {item.key: item.needed_keys() for item in items})


def called_first(items: Sequence[WriteItem], results: Mapping[str, Written]) -> list[list[WriteItem]]:
    """Items in levels, the called before the callers: n8n 2 refuses to publish what calls something unpublished."""
    by_id = {written.env_workflow_id: key for key, written in results.items()}
    by_id |= {item.env_workflow_id: item.key for item in items if item.env_workflow_id}
    by_id |= {pending(item.key): item.key for item in items}
    calls = {
        item.key: {by_id[r.value] for r in references(item.load()) if r.kind == "workflow" and r.value in by_id}
        for item in items
    }
    return _levels({item.key: item for item in items}, calls)[0]


def _levels(
    waiting: dict[str, WriteItem], calls: Mapping[str, Collection[str]]
) -> tuple[list[list[WriteItem]], set[str]]:
    needs = {key: set(calls[key]) & waiting.keys() for key in waiting}
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
    items: Sequence[WriteItem],
    target: WriteTarget,
    *,
    on_created: Callable[[Mapping[str, str]], None] | None = None,
) -> dict[str, Written]:
    """Carry out items in the order that the package's docstring explains; the outcome of each, by key.

    Safe to begin again: what is done is answered from the steps. ``on_created(key → id)`` is called after each level
    of creations, so that the caller can put the new ids on record before anything else. Raises the first failure
    (``EditedMeanwhile``, ``NotAsWritten``, ``NotActivated``, ``N8nError``, ``UnknownOutcome``) unless the target is
    ``tolerant``.
    """
    with run.fenced():
        ids = canonical_ids([item.key for item in items])
    named = replace(target, workflow_ids=ids)
    return _Performing(run, named, {item.key: item for item in items}, on_created).carry_out()


@dataclass(slots=True)
class _Performing:
    """One call of ``perform``: what its phases share, and the outcome of each item so far."""

    run: Run
    target: WriteTarget
    items: Mapping[str, WriteItem]
    on_created: Callable[[Mapping[str, str]], None] | None
    results: dict[str, Written] = field(default_factory=dict)

    def carry_out(self) -> dict[str, Written]:
        """Phase after phase; see the package's docstring."""
        try:
            return self._phases()
        except OpsError:
            note_outage(self.run, self.client.base_url)
            raise

    @property
    def client(self) -> N8nClient:
        return self.target.client

    def _phases(self) -> dict[str, Written]:
        # A creation that got no answer is looked for by name and content: what an earlier attempt created under the
        # same name must not be taken for it.
        for written in created_before(self.run, self.target.prefix):
            self._learn(written.key, written.env_workflow_id, former=written.former_id)
        if self.run.is_cancelled:
            _look_back(self.run, write_effects(self.target, list(self.items.values())))
            self.run.check()
        levels, again = creation_levels(self._with_doubts(self._of("create")))
        for level in levels:
            self._write(level, "Creating workflows")
        self._write(self._of("update"), "Writing workflows")
        self._relink(again)
        published = self._publish()
        self._rest()
        self._keep_drafts()
        self._archive()
        self._delete()
        self._watch(published)
        return self.results

    def _learn(self, key: str, workflow_id: str, *, former: str | None) -> None:
        self.target.resolver.learn(key, workflow_id, former=former)

    def _of(self, action: str) -> list[WriteItem]:
        return [item for item in self.items.values() if item.action == action]

    def _with_doubts(self, items: Sequence[WriteItem]) -> list[WriteItem]:
        """Creations that another pass of this job has begun and nobody has heard the end of are looked for first."""
        if not items:
            return []
        with self.run.fenced():
            begun = OperationStep.objects.filter(operation_id=self.run.operation.pk, intent__action="create")
            steps = begun.exclude(state=StepState.DONE).exclude(name__startswith=f"{self.target.prefix}:write:")
            doubtful = {str(intent["key"]) for intent in steps.values_list("intent", flat=True) if intent}
        return [replace(item, may_be_there=item.key in doubtful) for item in items]

    def _in_place(self) -> Iterator[tuple[WriteItem, Written]]:
        """The items whose content was written or was there already, with the outcome of each so far."""
        for key, item in self.items.items():
            written = self.results.get(key)
            if written is not None and written.outcome not in ("failed", "deleted"):
                yield item, written

    def _answers(
        self, effects: Sequence[Effect], *, on_progress: Callable[[int], None] = lambda _count: None
    ) -> Iterator[tuple[str, Written]]:
        """Carry out effects; the outcome of each, by the key of its item."""
        if not effects:
            return
        concurrency = self.target.concurrency
        answers = self.run.effects(effects, concurrency=concurrency, chunk=CHUNK, on_progress=on_progress)
        for effect in effects:
            yield effect.intent["key"], Written.read(answers[effect.name])

    def _write(self, batch: Sequence[WriteItem], note: str) -> None:
        before, made = len(self.results), {}
        if self.target.restores:
            note = "Restoring workflows"
        effects = write_effects(self.target, batch, listed=self._listed(batch))
        for key, written in self._answers(
            effects, on_progress=lambda count: self.run.progress(before + count, len(self.items), note)
        ):
            self.results[key] = written
            if written.outcome == "created":
                former = written.former_id or self.items[key].env_workflow_id
                self._learn(key, written.env_workflow_id, former=former)
                made[key] = written.env_workflow_id
        if made and self.on_created is not None:
            self.on_created(made)

    def _listed(self, batch: Sequence[WriteItem]) -> dict[str, Mapping[str, Any]]:
        """Items of a roll back as n8n's list shows them: one list is much quicker than as many single reads.

        At most ``LISTED_AT_MOST``; none where the batch is small.
        """
        wanted = {item.env_workflow_id for item in batch if item.live_version_id and item.env_workflow_id}
        found: dict[str, Mapping[str, Any]] = {}
        if len(wanted) < LISTED_FROM or not self.client.spec().can("stage"):
            return found
        for raw in self.client.iter_workflows():
            if raw["id"] in wanted:
                found[raw["id"]] = raw
            if len(found) in (len(wanted), LISTED_AT_MOST):
                break
        return found

    def _relink(self, again: Collection[str]) -> None:
        """Second writes: members of a circle, and callers of what turned out to be gone and was created anew."""
        moved = {w.former_id for w in self.results.values() if w.outcome == "created" and w.former_id}
        target = replace(self.target, prefix=f"{self.target.prefix}:link")
        effects = [
            write_effect(target, _second(item, written))
            for item, written in self._in_place()
            if item.key in again or (moved and _calls(item, moved))
        ]
        for key, after in self._answers(effects):
            _take_over_second(self.results[key], after)

    def _publish(self) -> set[str]:
        """Cut over: everything that is to run and does not run yet, the called before their callers. Their keys."""
        wanted = [item for item, written in self._in_place() if _waits_to_run(item, written)]
        if not wanted:
            return set()
        note = "Publishing what ran before" if self.target.restores else "Publishing"
        self.run.progress(0, len(wanted), note)
        done = 0
        for level in called_first(wanted, self.results):
            effects = [publishing(self.target, item, self.results[item.key]) for item in level]
            for key, after in self._answers(
                effects,
                # Bound now, since ``done`` moves on; mypy gives a default in a lambda no type.
                on_progress=lambda count, before=done: self.run.progress(before + count, len(wanted), note),  # type: ignore[misc]
            ):
                _take_over(self.results[key], after)
            done += len(level)
        wait_for_lease(self.run, self.client)
        self._listen(wanted)
        return {item.key for item in wanted}

    def _listen(self, items: Sequence[WriteItem]) -> None:
        """n8n publishes in the background: where it does not answer at an address, the publishing has failed."""
        addresses = {i.key: list(self.results[i.key].listening) for i in items if self.results[i.key].listening}
        if not addresses:
            return
        found: dict[str, dict[str, str]] = self.run.step(
            f"{self.target.prefix}:listening",
            "Ask n8n which addresses answer",
            lambda: heard(self.client, addresses, check=self.run.check),
        )
        for key, answers in found.items():
            written = self.results[key]
            written.listening = answers
            deaf = sorted(address for address, answer in answers.items() if answer == "absent")
            if not deaf:
                continue
            error = NotActivated(
                f"“{self.items[key].name}” was published, but n8n does not answer at {deaf[0]}.",
                details={"key": key, "env_workflow_id": written.env_workflow_id, "addresses": deaf},
            )
            if not self.target.tolerant:
                raise error
            written.outcome, written.error = "failed", error.to_dict()

    def _rest(self) -> None:
        """Unpublish what others called until now, the callers before the called."""
        waiting = {item.key: item for item, written in self._in_place() if written.rests}
        by_id = {self.results[key].env_workflow_id: key for key in waiting}
        calls = {key: {by_id[called] for called in self.results[key].calls if called in by_id} for key in waiting}
        for level in reversed(_levels(waiting, calls)[0]):
            effects = [resting(self.target, item, self.results[item.key]) for item in level]
            for key, after in self._answers(effects):
                written = self.results[key]
                written.rests, written.calls = False, []
                _take_over(written, after)

    def _keep_drafts(self) -> None:
        """Write or remove the drafts beside what runs."""
        effects = [
            keeping_draft(self.target, item, written)
            for item, written in self._in_place()
            if written.active
            and (written.draft_hash or None) != item.wanted_draft_hash
            and not any(left.get("path") == "draft" for left in written.left)
        ]
        for key, after in self._answers(effects):
            _take_over(self.results[key], after)

    def _archive(self) -> None:
        """Archive what is to be archived."""
        effects = [archiving(self.target, item, written) for item, written in self._in_place() if item.archived is True]
        for key, after in self._answers(effects):
            written = self.results[key]
            if after.outcome == "failed":
                _take_over(written, after)
            else:
                written.active, written.left = False, [*written.left, *after.left]

    def _delete(self) -> None:
        """Delete what is to be deleted, the callers before the called."""
        waiting = {item.key: item for item in self._of("delete")}
        calls = self._calls_among(waiting) if len(waiting) > 1 else dict.fromkeys(waiting, ())
        for level in reversed(_levels(waiting, calls)[0]):
            self._write(level, "Deleting workflows")

    def _watch(self, published: set[str]) -> None:
        """Watch what was published and is not proven to start."""
        if self.results and not self.client.spec().can("stage"):  # each write to what is published has published it
            published |= {key for key, written in self.results.items() if written.active and written.was_written}
        noting.note(self.run, self.target.environment, [self.items[key] for key in sorted(published)], self.results)

    def _calls_among(self, items: Mapping[str, WriteItem]) -> dict[str, Collection[str]]:
        """Which of the items each one calls now, by key; one that cannot be read counts as calling nothing."""
        by_id = {item.env_workflow_id: key for key, item in items.items()}
        found: dict[str, Collection[str]] = {}
        for key, item in items.items():
            try:
                called = references(portable(self.client.get_workflow(item.env_workflow_id or "")))
            except (N8nError, ContentError):
                called = []
            found[key] = {by_id[r.value] for r in called if r.kind == "workflow" and r.value in by_id}
        return found


def _second(item: WriteItem, written: Written) -> WriteItem:
    """The write that connects an item with what it calls, once that is there."""
    return WriteItem(
        key=item.key,
        name=item.name,
        title=f"Connect {item.name or item.key} with what it calls",
        action="update",
        env_workflow_id=written.env_workflow_id,
        content=item.content,
        wanted_hash=item.wanted_hash,
        expected_hash=item.wanted_hash,
        also_expected=frozenset({item.expected_hash}) if item.expected_hash else frozenset(),
        create_if_missing=False,
    )


def _calls(item: WriteItem, ids: Collection[str]) -> bool:
    return any(r.kind == "workflow" and r.value in ids for r in references(item.load()))


def _waits_to_run(item: WriteItem, written: Written) -> bool:
    """Whether its new content is written and does not run yet, though it is to."""
    return not written.rests and bool(written.staged or (item.active is True and not written.active))


def _take_over_second(written: Written, after: Written) -> None:
    """Add what the second write found to the outcome of the first."""
    written.version_id = after.version_id or written.version_id
    if after.staged:
        written.staged = after.staged
        written.holds_back = after.holds_back or written.holds_back


def _take_over(written: Written, after: Written) -> None:
    """Add what a later step found to the outcome of an item."""
    if after.outcome == "failed":
        written.outcome, written.error = "failed", after.error
        return
    written.active = after.active
    written.content_hash = after.content_hash or written.content_hash
    written.version_id = after.version_id or written.version_id
    written.live_version_id, written.draft_hash = after.live_version_id, after.draft_hash
    written.listening = after.listening or written.listening
    written.left = named_once([*written.left, *after.left])
    if written.outcome == "skipped":
        written.outcome = "updated"


def _look_back(run: Run, effects: Sequence[Effect]) -> None:
    """Begin nothing more, but learn the outcome of what a killed worker had begun: it has to be undone as well."""
    try:
        with run.shielded():
            run.look_back(effects)
    except N8nError as error:
        if run.is_last_attempt:
            raise
        raise TryAgain(f"What was begun could not be checked ({error}); it will be tried again.") from error


def created_before(run: Run, prefix: str) -> list[Written]:
    """What the steps of earlier attempts, or of this one, have created."""
    done = (step.result for name, step in run.done_steps().items() if name.startswith(f"{prefix}:write:"))
    found = [Written.read(result) for result in done if isinstance(result, dict)]
    return [written for written in found if written.outcome == "created"]


def failures(run: Run, *, prefix: str) -> dict[str, dict[str, Any]]:
    """The recorded errors of a ``perform`` that failed, by key, whichever attempt met them."""
    start = f"{prefix}:"
    with tenant_scope(run.tenant_id):
        rows = OperationStep.objects.filter(
            operation_id=run.operation.pk, name__startswith=start, state__in=[StepState.FAILED, StepState.UNKNOWN]
        ).values_list("name", "error")
        return {name.rpartition(":")[2]: error or {} for name, error in rows}
