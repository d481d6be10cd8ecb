"""The other tenants: smaller, each in a state of its own, so that the estate shows what it can show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tenants.models import Tenant, User
from workflows.models import Environment

from .catalogue import FLOWS
from .doing import Doer
from .drawing import Flow
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
    owner, operator = Doer(tenant, people["owner"]), Doer(tenant, people["operator"])
    flows = _flows_of(plan)
    for name, kind in plan.environments:
        profile = OLDEST if plan.state in ("upgraded", "unreachable") else NEWEST
        site = SandboxSite(control, f"{plan.slug}-{kind}", profile=profile)
        site.seed(flows)
        environment = owner.add_environment(name, kind, site)
        if plan.state != "new":
            operator.capture(environment, "baseline", "First capture")
    # The last environment is production: it alone is changed.
    if change := _CHANGES.get(plan.state):
        change(site, environment, operator, flows)


def _flows_of(plan: Plan) -> list[Flow]:
    shared = {"report-failures", "crm-update-customer", "fraud-check", "look-up-order"}
    own = [flow for flow in FLOWS if flow.key not in shared]
    return [flow for flow in FLOWS if flow.key in shared] + own[plan.first : plan.first + plan.count]


def _drift(site: SandboxSite, environment: Environment, operator: Doer, flows: Sequence[Flow]) -> None:
    site.edit(flows[-1].key, setting(executionTimeout=600))
    site.edit("fraud-check", parameter("Score the payment", "url", "https://api.larkfield.example/risk/v2/score"))
    site.switch(next(flow.key for flow in flows if flow.active), False)
    operator.check(environment)


def _upgrade(site: SandboxSite, environment: Environment, operator: Doer, flows: Sequence[Flow]) -> None:
    site.upgrade(NEWEST)
    operator.check(environment)


def _lose(site: SandboxSite, environment: Environment, operator: Doer, flows: Sequence[Flow]) -> None:
    # The key is revoked too: a restart of the sandbox forgets faults.
    site.revoke_key()
    site.fault(kind="drop_before")
    operator.capture(environment, "scheduled", "Scheduled capture", ends="FAILED")
    operator.test_connection(environment)


_CHANGES = {"drifting": _drift, "upgraded": _upgrade, "unreachable": _lose}
