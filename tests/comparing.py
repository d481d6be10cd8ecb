"""The console upgraded under a test's feet: from now on it compares workflows in another way."""

from __future__ import annotations

import sys

import pytest

from workflows import content, normalization


def compare_otherwise(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let every hash come out another one, under the next normalisation; its number."""
    old, following = normalization.view, content.NORMALIZATION_VERSION + 1
    for name, module in list(sys.modules.items()):
        is_ours = name.partition(".")[0] in ("workflows", "snapshots", "drift", "promotions")
        if is_ours and module is not normalization and hasattr(module, "NORMALIZATION_VERSION"):
            monkeypatch.setattr(module, "NORMALIZATION_VERSION", following)
    monkeypatch.setattr(content, "view", lambda *a: {**old(*a), "newer": True})
    return following
