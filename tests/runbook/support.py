"""A support session as the runbook meets it: over REST, of the cast's support."""

from __future__ import annotations

from typing import Any

import httpx

from tests.runbook.estate import Estate


class SupportSession:
    """A session over REST, of the cast's support as its operator."""

    def __init__(self, estate: Estate) -> None:
        self.estate = estate
        started = self.start(estate, target=estate.cast.operator)
        assert started.status_code == 201, started.text
        self.ident = started.json()["session"]["id"]

    @staticmethod
    def client(estate: Estate) -> httpx.Client:
        headers = {"Authorization": f"Bearer {estate.support_token}"}
        return httpx.Client(base_url=f"{estate.url}/api/v1", headers=headers, timeout=90)

    @classmethod
    def start(cls, estate: Estate, *, target: Any) -> httpx.Response:
        body = {
            "target_user_id": str(target.pk),
            "tenant": "acme" if target != estate.cast.admin else "",
            "reason": "Labels come out twice",
            "mfa_code": recovery_code(estate.cast.support),
        }
        return cls.client(estate).post("/platform/impersonate", json=body)

    def get(self) -> httpx.Response:
        return self.client(self.estate).get("/operations", params={"tenant": "acme"})

    def write(self) -> None:
        """Ask for something that reads only: refused, and the refusal keeps what was asked."""
        assert self.get().status_code == 200
        asked = self.client(self.estate).post("/platform/impersonate/write", json={
            "reason": "The label must change", "mfa_code": recovery_code(self.estate.cast.support),
        })  # fmt: skip
        assert asked.status_code == 202, asked.text
        wish = asked.json()["request"]["id"]
        agreed = self.estate.api.post(f"/platform/impersonate/requests/{wish}/approve")
        assert agreed.status_code == 200, agreed.text
        taken = self.client(self.estate).post(
            "/platform/impersonate/write", json={"mfa_code": recovery_code(self.estate.cast.support)}
        )
        assert taken.status_code == 200, taken.text
        body = {"environment_id": self.estate.production, "snapshot_type": "manual_backup", "description": "runbook"}
        made = self.client(self.estate).post("/snapshots", json=body, params={"wait": 60})
        assert made.status_code < 300, made.text


def recovery_code(user: Any) -> str:
    """A code that has not been used yet; the first call sets the person's codes up."""
    from allauth.mfa.models import Authenticator
    from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
    from allauth.mfa.totp.internal.auth import TOTP

    if not Authenticator.objects.filter(user=user, type="totp").exists():
        TOTP.activate(user, "JBSWY3DPEHPK3PXP")
        RecoveryCodes.activate(user)
    return str(RecoveryCodes(Authenticator.objects.get(user=user, type="recovery_codes")).get_unused_codes()[0])
