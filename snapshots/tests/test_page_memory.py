"""What a capture remembers of the list's pages: less is read, and nothing else is different."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest

from snapshots import repository
from snapshots.page_memory import PageMemory, memory_path
from workflows.models import Environment

from .conftest import caller, workflow


def _answers(n8n: Any) -> list[int]:
    return [call["status"] for call in n8n.calls(method="GET") if call["path"].endswith("/workflows")]


def _memory(environment: Environment) -> Any:
    return memory_path(repository.store_for(environment.tenant_id).path, environment.pk)


def _same(one: Any, other: Any) -> None:
    assert one.workflows == other.workflows
    assert one.total_bytes == other.total_bytes
    assert one.verification["findings"] == other.verification["findings"]


def test_what_is_unchanged_is_not_sent_again(capture: Any, n8n: Any, environment: Environment) -> None:
    broken = {**workflow("Dangling"), "connections": {"Nobody": {"main": [[{"node": "Nowhere"}]]}}}
    sub, *_ = n8n.seed([workflow("Orders", active=True), broken])
    n8n.seed([caller("Caller", sub["id"])])
    first = capture()
    n8n.clear_calls()
    second = capture()
    assert set(_answers(n8n)) == {304}
    assert first.verification["findings"]
    _same(first, second)


def test_with_and_without_memory_a_list_that_changes_is_captured_alike(
    capture: Any, n8n: Any, environment: Environment
) -> None:
    chance = random.Random(7)
    made = [one["id"] for one in n8n.seed([workflow(f"Job {n}", url=f"https://example.org/{n}") for n in range(520)])]
    capture()
    for turn in range(5):
        for ident in chance.sample(made, 2):
            n8n.edit(ident, name=f"Changed {turn} {ident}")
        for _ in range(turn % 3):
            n8n.delete_workflow(made.pop(chance.randrange(len(made))))
        made += [one["id"] for one in n8n.seed([workflow(f"New {turn}")])]
        with_memory = capture()
        _memory(environment).unlink()
        _same(with_memory, capture())
        assert with_memory.workflow_count == len(made)


@pytest.mark.parametrize("torn", [b"", b"{", b"[]", b'{"make": 1}', b'{"pages": {"a": 1}}'])
def test_a_torn_memory_is_none(capture: Any, n8n: Any, environment: Environment, torn: bytes) -> None:
    n8n.seed([workflow("Orders")])
    first = capture()
    kept = _memory(environment).read_bytes()
    _memory(environment).write_bytes(torn or kept[:-20])
    n8n.clear_calls()
    _same(first, capture())
    assert 200 in _answers(n8n)
    assert _memory(environment).read_bytes() == kept


def test_what_git_no_longer_holds_is_read_again(capture: Any, n8n: Any, environment: Environment) -> None:
    n8n.seed([workflow("Orders")])
    first = capture()
    store = repository.store_for(environment.tenant_id)
    store.move_branch(environment.seen_branch, to=None, expected=first.git_commit_sha)
    n8n.clear_calls()
    _same(first, capture())
    assert 200 in _answers(n8n)


def test_what_will_be_restored_from_is_read_as_a_whole(capture: Any, n8n: Any) -> None:
    n8n.seed([workflow("Orders")])
    capture()
    n8n.clear_calls()
    capture(snapshot_type="pre_restore")
    assert set(_answers(n8n)) == {200}


def test_another_address_remembers_nothing(capture: Any, n8n: Any, environment: Environment) -> None:
    n8n.seed([workflow("Orders")])
    capture()
    assert PageMemory.load(_memory(environment), base_url=environment.base_url).pages
    assert not PageMemory.load(_memory(environment), base_url="https://elsewhere.example.org").pages


def test_what_a_kill_left_of_a_memory_is_swept(capture: Any, n8n: Any, environment: Environment) -> None:
    n8n.seed([workflow()])
    capture()
    store, kept = repository.store_for(environment.tenant_id), _memory(environment)
    stray = kept.with_name(f"{kept.name}.0123456789abcdef")
    stray.write_bytes(b"half a mem")
    os.utime(stray, (1, 1))
    assert [finding.kind for finding in store.verify().findings] == ["leftover"]
    store.gc(full=True)
    assert kept.exists() and not stray.exists()
