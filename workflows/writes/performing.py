"""Items in an order that is safe: creations, updates, circles, switches, deletions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from operations.effects import Effect
from operations.engine import Run
from operations.errors import TryAgain
from operations.models import OperationStep, StepState
from tenants.scope import tenant_scope
from workflows.n8n.errors import N8nError
from workflows.references import references

from .effects import archiving, keeping_draft, publishing, write_effect, write_effects
from .errors import NotActivated
from .items import WriteItem, Written, pending
from .publishing import heard
from .resolver import Resolver

if TYPE_CHECKING:
    from workflows.models import Environment
    from workflows.n8n.client import N8nClient

CONCURRENCY = 4
CHUNK = 64


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
    client: N8nClient,
    items: Sequence[WriteItem],
    *,
    environment: Environment,
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
    # Whoever looks for a creation that got no answer must not take another's of the same name and content.
    for written in created_before(run, prefix):
        resolver.learn(written.key, written.env_workflow_id, former=written.former_id)
    if run.is_cancelled:
        _look_back(
            run,
            write_effects(client, items, environment=environment, prefix=prefix, resolver=resolver, tolerant=tolerant),
        )
        run.check()

    def carry_out(batch: Sequence[WriteItem], note: str) -> None:
        nonlocal done
        before = done
        answers = run.effects(
            write_effects(client, batch, environment=environment, prefix=prefix, resolver=resolver, tolerant=tolerant),
            concurrency=concurrency,
            chunk=CHUNK,
            told=lambda count: run.progress(before + count, total, note),
        )
        made: dict[str, str] = {}
        for item in batch:
            written = results[item.key] = Written.from_dict(answers[f"{prefix}:write:{item.key}"])
            if written.outcome == "created":
                resolver.learn(item.key, written.env_workflow_id, former=written.former_id or item.env_workflow_id)
                made[item.key] = written.env_workflow_id
        done += len(batch)
        if made and on_created is not None:
            on_created(made)

    creates = [i for i in items if i.action == "create"]
    levels, again = creation_levels(creates)
    for level in levels:
        carry_out(level, "Creating workflows")
    carry_out([i for i in items if i.action == "update"], "Writing workflows")
    where: Any = {"environment": environment, "prefix": prefix, "tolerant": tolerant}
    _relink(run, client, by_key, again, results, resolver=resolver, **where)
    _publish(run, client, by_key, results, resolver=resolver, concurrency=concurrency, **where)
    _keep_drafts(run, client, by_key, results, resolver=resolver, concurrency=concurrency, **where)
    _archive(run, client, by_key, results, **where)
    carry_out([i for i in items if i.action == "delete"], "Deleting workflows")
    return results


def _look_back(run: Run, effects: Sequence[Effect]) -> None:
    """Nothing more is begun. What a killed worker had begun must be known to whoever puts it back."""
    try:
        with run.shielded():
            run.look_back(effects)
    except N8nError as error:
        if run.is_last_attempt:
            raise
        raise TryAgain(f"What was begun could not be looked at ({error}); it will be tried again.") from error


def created_before(run: Run, prefix: str) -> list[Written]:
    """What the steps of earlier attempts, or of this one, have created."""
    done = (step.result for name, step in run.done_steps().items() if name.startswith(f"{prefix}:write:"))
    found = [Written.from_dict(result) for result in done if isinstance(result, dict)]
    return [written for written in found if written.outcome == "created"]


def _relink(
    run: Run,
    client: N8nClient,
    by_key: Mapping[str, WriteItem],
    again: Collection[str],
    results: Mapping[str, Written],
    *,
    environment: Environment,
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
            also_expected=frozenset({item.expected_hash}) if item.expected_hash else frozenset(),
            create_if_missing=False,
        )
        link: Any = {"environment": environment, "prefix": f"{prefix}:link", "tolerant": tolerant}
        effects.append(write_effect(client, second, resolver=resolver, **link))
    answers = run.effects(effects, concurrency=CONCURRENCY, chunk=CHUNK) if effects else {}
    for effect in effects:
        after = Written.from_dict(answers[effect.name])
        if after.staged:
            results[after.key].staged, results[after.key].version_id = after.staged, after.version_id
            results[after.key].holds_back = after.holds_back or results[after.key].holds_back


def _calls(item: WriteItem, ids: Collection[str]) -> bool:
    return any(r.kind == "workflow" and r.value in ids for r in references(item.load()))


def _publish(
    run: Run,
    client: N8nClient,
    by_key: Mapping[str, WriteItem],
    results: dict[str, Written],
    *,
    environment: Environment,
    prefix: str,
    resolver: Resolver,
    concurrency: int,
    tolerant: bool,
) -> None:
    """Cut over: everything that is to run and does not run yet, the called before their callers."""
    wanted = [
        item
        for key, item in by_key.items()
        if (written := results.get(key)) is not None
        and written.outcome not in ("failed", "deleted")
        and (written.staged or (item.active is True and not written.active))
    ]
    if not wanted:
        return
    where: Any = {"environment": environment, "prefix": prefix, "resolver": resolver, "tolerant": tolerant}
    run.progress(0, len(wanted), "Publishing")
    done = 0
    for level in called_first(wanted, results):
        before = done
        answers = run.effects(
            [publishing(client, item, results[item.key], **where) for item in level],
            concurrency=concurrency,
            chunk=CHUNK,
            told=lambda count: run.progress(before + count, len(wanted), "Publishing"),  # noqa: B023 - called inside
        )
        for item in level:
            _take_over(results[item.key], Written.from_dict(answers[f"{prefix}:activate:{item.key}"]))
        done += len(level)
    _listen(run, client, {item.key: item for item in wanted}, results, prefix=prefix, tolerant=tolerant)


def _take_over(written: Written, after: Written) -> None:
    """What a later step has found, in what is known of an item."""
    if after.outcome == "failed":
        written.outcome, written.error = "failed", after.error
        return
    written.active = after.active
    written.content_hash = after.content_hash or written.content_hash
    written.version_id = after.version_id or written.version_id
    written.live_version_id, written.draft_hash = after.live_version_id, after.draft_hash
    written.listening = after.listening or written.listening
    written.left = [*written.left, *after.left]
    if written.outcome == "skipped":
        written.outcome = "updated"


def _listen(
    run: Run,
    client: N8nClient,
    items: Mapping[str, WriteItem],
    results: dict[str, Written],
    *,
    prefix: str,
    tolerant: bool,
) -> None:
    """n8n publishes in the background: an address that it says nobody has is a publishing that failed."""
    addresses = {key: list(results[key].listening) for key in items if results[key].listening}
    if not addresses:
        return
    found: dict[str, dict[str, str]] = run.step(
        f"{prefix}:listening",
        "Ask n8n which addresses answer",
        lambda: heard(client, addresses, check=run.check),
    )
    for key, answers in found.items():
        results[key].listening = answers
        deaf = sorted(address for address, answer in answers.items() if answer == "absent")
        if not deaf:
            continue
        error = NotActivated(
            f"“{items[key].name}” was published, but n8n does not answer at {deaf[0]}.",
            details={"key": key, "env_workflow_id": results[key].env_workflow_id, "addresses": deaf},
        )
        if not tolerant:
            raise error
        results[key].outcome, results[key].error = "failed", error.to_dict()


def _keep_drafts(
    run: Run,
    client: N8nClient,
    by_key: Mapping[str, WriteItem],
    results: dict[str, Written],
    *,
    environment: Environment,
    prefix: str,
    resolver: Resolver,
    concurrency: int,
    tolerant: bool,
) -> None:
    where: Any = {"environment": environment, "prefix": prefix, "resolver": resolver, "tolerant": tolerant}
    effects = []
    for key, item in by_key.items():
        written = results.get(key)
        if written is None or written.outcome in ("failed", "deleted") or not written.active:
            continue
        if any(left.get("path") == "draft" for left in written.left):
            continue
        if (written.draft_hash or None) != item.wanted_draft_hash:
            effects.append(keeping_draft(client, item, written, **where))
    if not effects:
        return
    answers = run.effects(effects, concurrency=concurrency, chunk=CHUNK)
    for effect in effects:
        _take_over(results[effect.intent["key"]], Written.from_dict(answers[effect.name]))


def _archive(
    run: Run,
    client: N8nClient,
    by_key: Mapping[str, WriteItem],
    results: dict[str, Written],
    *,
    environment: Environment,
    prefix: str,
    tolerant: bool,
) -> None:
    where: Any = {"environment": environment, "prefix": prefix, "tolerant": tolerant}
    effects = [
        archiving(client, item, results[key], **where)
        for key, item in by_key.items()
        if item.archived is True and key in results and results[key].outcome not in ("failed", "deleted")
    ]
    if not effects:
        return
    answers = run.effects(effects, concurrency=CONCURRENCY, chunk=CHUNK)
    for effect in effects:
        after = Written.from_dict(answers[effect.name])
        key = effect.intent["key"]
        if after.outcome == "failed":
            _take_over(results[key], after)
        else:
            results[key].active = False
            results[key].left = [*results[key].left, *after.left]


def failures(run: Run, *, prefix: str) -> dict[str, dict[str, Any]]:
    """The errors on record of a ``perform`` that failed, by key: what its steps say, whoever ran them."""
    start = f"{prefix}:"
    with tenant_scope(run.tenant_id):
        rows = OperationStep.objects.filter(
            operation_id=run.operation.pk, name__startswith=start, state__in=[StepState.FAILED, StepState.UNKNOWN]
        ).values_list("name", "error")
        return {name.rpartition(":")[2]: error or {} for name, error in rows}
