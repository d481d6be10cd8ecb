"""Real workflows there and back: captured, wiped, restored, captured again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from operations.models import Operation
from snapshots.starting import start_restore
from tenants.scope import tenant_scope
from workflows.models import Environment

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "workflows" / "n8n"
REAL = Path(os.environ.get("OPSCONSOLE_REAL_WORKFLOWS") or BESIDE)


@pytest.mark.skipif(not REAL.is_dir(), reason="the folder of real workflows is not there")
def test_real_workflows_come_back_with_equal_hashes(
    capture: Any, n8n: Any, environment: Environment, run_operations: Any, live_cast: Any
) -> None:
    given = [json.loads(path.read_bytes()) for path in sorted(REAL.glob("*.json"))]
    n8n.seed([{k: v for k, v in w.items() if k != "id"} | {"active": False} for w in given], activate="never")
    first = capture()
    assert first.workflow_count == len(given)
    for row in n8n.state()["workflows"]:
        n8n.delete_workflow(row["id"])
    operation = start_restore(
        tenant_id=environment.tenant_id, environment_id=environment.pk, snapshot_id=first.pk, requested_by=None
    )
    run_operations(live_cast.tenant)
    with tenant_scope(environment.tenant_id):
        done = Operation.objects.get(pk=operation.pk)
    assert done.status == "COMPLETED", (done.error_code, done.error_message, done.error_details)
    assert done.result["counts"]["created"] == len(given)
    again = capture()
    before, after = ({e["key"]: e["content_hash"] for e in s.workflows} for s in (first, again))
    assert before == after
