"""Operations of this app."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import msgspec

from core import crypto
from core.notices import step_handlers
from operations.engine import Run
from operations.handlers import register

from . import gateway, job_summaries, services
from .n8n import check_connection
from .n8n.report import ConnectionReport, read_report
from .notices import Connected
from .surroundings import refresh


@register
class TestConnection:
    """Test an instance's connection and keep the report. A fault of the instance is in the report, not an error."""

    kind: ClassVar[str] = services.TEST_KIND
    summary = staticmethod(job_summaries.connection_tested)

    def run(self, run: Run) -> dict[str, Any]:
        environment = gateway.environment_by_id(run.tenant_id, run.params["environment_id"])
        token = environment.api_key_encrypted

        def check() -> dict[str, Any]:
            key = crypto.decrypt(token) if token else ""
            report = check_connection(base_url=environment.base_url, api_key=key, policy=gateway.address_policy())
            # Without a key nothing can be captured, though an open instance answers.
            return msgspec.structs.replace(report, ok=report.ok and bool(token)).to_json()

        stored = run.step("check", f"Test {environment.base_url}", check)
        report = read_report(stored) or ConnectionReport()
        with run.fenced():
            services.store_connection_report(environment_id=environment.pk, report=report, key_token=token)
        if report.ok:
            title = f"Read the data tables, variables and packages of {environment.name}"
            run.step("around", title, lambda: {"reached": refresh(environment).reached})
        if report.ok and run.params.get("is_new"):
            for handler in step_handlers(Connected):
                run.step(f"told:{handler.name}", handler.title, partial(handler.handle, Connected(run, environment)))
        return {
            "ok": report.ok,
            "version": report.version,
            "latency_ms": report.latency_ms,
            "fault": msgspec.to_builtins(report.fault),
        }
