"""The long work of this app."""

from __future__ import annotations

from typing import Any, ClassVar

from core import crypto
from operations.engine import Run
from operations.handlers import register

from . import gateway, services
from .surroundings import refresh


@register
class TestConnection:
    """Looks at an instance from outside in and keeps the report; never fails for what is wrong out there."""

    kind: ClassVar[str] = services.TEST_KIND

    def run(self, run: Run) -> dict[str, Any]:
        environment = gateway.environment_by_id(run.tenant_id, run.params["environment_id"])
        token = environment.api_key_encrypted

        def look() -> dict[str, Any]:
            from .n8n import check_connection

            key = crypto.decrypt(token) if token else ""
            report = check_connection(
                base_url=environment.base_url, api_key=key, policy=gateway.address_policy()
            ).to_dict()
            if not token:
                report["ok"] = False
            return report

        report = run.step("check", f"Look at {environment.base_url}", look)
        with run.fenced():
            services.store_connection_report(environment_id=environment.pk, report=report, key_token=token)
        if report.get("ok"):
            run.step("around", f"Look around {environment.name}", lambda: {"reached": refresh(environment).reached})
        fault = next((check for check in report.get("checks", ()) if check.get("state") == "failed"), None)
        return {
            "ok": bool(report.get("ok")),
            "version": report.get("version", ""),
            "latency_ms": report.get("latency_ms"),
            "fault": dict(fault) if fault else None,
        }
