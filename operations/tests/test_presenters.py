"""What pages show of an operation."""

from __future__ import annotations

from typing import Any

import pytest

from operations.models import OperationStep
from operations.presenters import step_rows


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ({"reused": False, "findings": 1}, "findings 1"),
        ({"can_restore": True, "gates": [1, 2]}, "can restore · 2 gates"),
        ([{"hash": "f" * 64}] * 3, "3 in all"),
        ({"content_hash": "a" * 64, "nested": {"a": 1}}, f"content hash {'a' * 12}"),
        (None, ""),
    ],
)
def test_a_result_is_a_line_and_no_dump(result: Any, told: str) -> None:
    (row,) = step_rows([OperationStep(title="A step", state="DONE", result=result)])
    assert row["result"] == told
