"""The real workflows that tests are given: a folder named by OPSCONSOLE_REAL_WORKFLOWS, or one beside the checkout."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "workflows" / "n8n"
REAL = Path(os.environ.get("OPSCONSOLE_REAL_WORKFLOWS") or BESIDE)


def real_workflows() -> list[dict[str, Any]]:
    """All of them, in the order of their names; none where there is no such folder."""
    return [json.loads(path.read_bytes()) for path in sorted(REAL.glob("*.json"))] if REAL.is_dir() else []
