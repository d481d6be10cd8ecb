"""A new way of comparing workflows: hashes change all at once, and nothing looks like drift meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from operations.models import Operation
from snapshots import rehashing, services
from tenants.scope import tenant_scope
from tests.comparing import compare_otherwise
from workflows import content
from workflows.models import WorkflowEnvMap

from .conftest import caller, workflow

pytestmark = pytest.mark.django_db(transaction=True)

NEXT = content.NORMALIZATION_VERSION + 1


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Call it, and the console compares workflows in another way."""

    yield lambda: compare_otherwise(monkeypatch)


def rows(environment: Any) -> list[WorkflowEnvMap]:
    with tenant_scope(environment.tenant_id):
        return list(WorkflowEnvMap.objects.filter(environment=environment).order_by("env_name"))


def jobs(environment: Any, status: str = "PENDING") -> list[Operation]:
    with tenant_scope(environment.tenant_id):
        return list(Operation.objects.filter(kind=rehashing.KIND, status=status))


def test_it_starts_by_itself_once_and_makes_every_hash_anew(
    newer: Any, environment: Any, n8n: Any, capture: Any, run_operations: Any, live_cast: Any
) -> None:
    made = n8n.seed([workflow("A"), workflow("B")])
    n8n.seed([caller("C", made[0]["id"])])
    before = capture()
    n8n.edit(made[1]["id"])
    capture()
    assert rehashing.keep_current() == 0
    old = {row.env_name: (row.git_content_hash, row.env_content_hash) for row in rows(environment)}
    newer()
    assert rehashing.keep_current() == 1
    assert rehashing.keep_current() == 0, "one job at a time"
    run_operations(live_cast.tenant)
    (job,) = jobs(environment, "COMPLETED")
    assert job.result == {"version": NEXT, "rehashed": 3, "unreadable": [], "unknown": []}
    for row in rows(environment):
        git, env = old[row.env_name]
        assert row.normalization_version == NEXT
        assert row.git_content_hash not in (None, git)
        assert row.env_content_hash not in (None, env)
        assert (row.git_content_hash == row.env_content_hash) == (git == env), row.env_name
        assert row.fingerprint["v"] == row.git_fingerprint["v"] == NEXT
    assert rehashing.keep_current() == 0
    # What is captured next finds all as it is recorded; the old snapshot reads as if it were made today.
    hashes = {row.env_name: row.env_content_hash for row in rows(environment)}
    after = capture()
    assert {e["name"]: e["content_hash"] for e in services.entries_of(after)} == hashes
    then = {e["name"]: e["content_hash"] for e in services.entries_of(before)}
    assert then["A"] == hashes["A"] and then["C"] == hashes["C"] and then["B"] != hashes["B"]
    assert services.verify_snapshot(before).status == "verified"
    assert {row.env_name: row.env_content_hash for row in rows(environment)} == hashes


def test_a_capture_that_comes_first_does_it_before_it_records_anything(
    newer: Any, environment: Any, n8n: Any, capture: Any
) -> None:
    n8n.seed([workflow("A"), workflow("B")])
    capture()
    newer()
    capture()
    assert all(r.git_content_hash == r.env_content_hash and r.normalization_version == NEXT for r in rows(environment))
    assert rehashing.keep_current() == 0


def test_what_is_killed_half_way_changes_nothing_and_is_done_again(
    newer: Any, environment: Any, n8n: Any, capture: Any, run_operations: Any, live_cast: Any, monkeypatch: Any
) -> None:
    n8n.seed([workflow("A"), workflow("B")])
    capture()
    old = {row.pk: (row.git_content_hash, row.env_content_hash) for row in rows(environment)}
    newer()

    class Killed(BaseException):
        pass

    def die(*_: Any) -> None:
        raise Killed

    monkeypatch.setattr(rehashing, "notify", die)
    rehashing.keep_current()
    with pytest.raises(Killed):
        run_operations(live_cast.tenant)
    assert {row.pk: (row.git_content_hash, row.env_content_hash) for row in rows(environment)} == old
    assert {row.normalization_version for row in rows(environment)} == {NEXT - 1}

    monkeypatch.setattr(rehashing, "notify", lambda _notice: {})
    with tenant_scope(environment.tenant_id):
        Operation.objects.filter(kind=rehashing.KIND).update(status="RETRY_PENDING", lease_expires_at=None)
    run_operations(live_cast.tenant)
    assert {row.normalization_version for row in rows(environment)} == {NEXT}


def test_a_content_that_git_has_lost_keeps_its_hash_and_is_named(
    newer: Any, environment: Any, n8n: Any, capture: Any, run_operations: Any, live_cast: Any, monkeypatch: Any
) -> None:
    n8n.seed([workflow("A"), workflow("B")])
    capture()
    old = {row.env_name: row.git_content_hash for row in rows(environment)}
    newer()
    real = rehashing._read

    def lose(run: Any, store: Any, blobs: Any, marks: Any) -> None:
        real(run, store, blobs, marks)
        marks[blobs[0]] = None

    monkeypatch.setattr(rehashing, "_read", lose)
    rehashing.keep_current()
    run_operations(live_cast.tenant)
    (job,) = jobs(environment, "COMPLETED")
    assert len(job.result["unreadable"]) == 1
    kept = [row for row in rows(environment) if row.git_content_hash == old[row.env_name]]
    assert len(kept) == 1
    assert kept[0].env_content_hash == kept[0].git_content_hash, "nobody is told that it drifted"
