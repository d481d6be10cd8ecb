"""The other tenants: smaller, each in a state of its own, so that the estate shows what it can show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tenants.models import Tenant, User

from .catalogue import FLOWS
from .doing import Doer
from .sites import NEWEST, OLDEST, Control, SandboxSite, parameter, setting


@dataclass(frozen=True, slots=True)
class Plan:
    """``state``: calm, drifting, unreachable, upgraded (since the first capture), new (never captured)."""

    name: str
    slug: str
    state: str
    environments: tuple[tuple[str, str], ...]
    first: int
    count: int


TENANTS = (
    Plan(
        "Harrow Freight", "harrow-freight", "unreachable", (("Staging", "staging"), ("Production", "production")), 0, 12
    ),
    Plan("Juniper Clinics", "juniper-clinics", "drifting", (("Test", "staging"), ("Live", "production")), 1, 10),
    Plan("Tannery Row Coffee", "tannery-row", "calm", (("Production", "production"),), 3, 7),
    Plan(
        "Osprey Ridge Energy", "osprey-ridge", "upgraded", (("Development", "dev"), ("Production", "production")), 5, 11
    ),
    Plan("Quillstone Legal", "quillstone", "new", (("Production", "production"),), 2, 8),
)


def build(plan: Plan, tenant: Tenant, people: Mapping[str, User], control: Control) -> None:
    """Environments, captures, and what makes this tenant's state."""
    shared = {"report-failures", "crm-update-customer", "fraud-check", "look-up-order"}
    flows = [f for f in FLOWS if f.key in shared] + [f for f in FLOWS if f.key not in shared][plan.first :][
        : plan.count
    ]
    owner, operator = Doer(tenant, people["owner"]), Doer(tenant, people["operator"])
    site = None
    environment = None
    for name, kind in plan.environments:
        site = SandboxSite(
            control, f"{plan.slug}-{kind}", profile=OLDEST if plan.state in ("upgraded", "unreachable") else NEWEST
        )
        site.seed(flows)
        environment = owner.add_environment(name, kind, site)
        if plan.state != "new":
            operator.capture(environment, "baseline", "First capture")
    if site is None or environment is None:
        return
    if plan.state == "drifting":
        site.edit(flows[-1].key, setting(executionTimeout=600))
        site.edit("fraud-check", parameter("Score the payment", "url", "https://api.larkfield.example/risk/v2/score"))
        site.switch(next(f.key for f in flows if f.active), False)
        operator.check(environment)
    if plan.state == "upgraded":
        site.upgrade(NEWEST)
        operator.check(environment)
    if plan.state == "unreachable":
        # Also after a restart of the sandbox, which forgets faults, this instance lets nobody in.
        site.revoke_key()
        site.fault(kind="drop_before")
        operator.capture(environment, "scheduled", "Scheduled capture", ends="FAILED")
        operator.test_connection(environment)
