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
class TenantPlan:
    """``state``: calm, drifting, unreachable, upgraded (since the first capture), new (never captured)."""

    name: str
    slug: str
    state: str
    environments: tuple[tuple[str, str], ...]
    first: int
    count: int


TENANTS = (
    TenantPlan(
        "Harrow Freight", "harrow-freight", "unreachable", (("Staging", "staging"), ("Production", "production")), 0, 12
    ),
    TenantPlan("Juniper Clinics", "juniper-clinics", "drifting", (("Test", "staging"), ("Live", "production")), 1, 10),
    TenantPlan("Tannery Row Coffee", "tannery-row", "calm", (("Production", "production"),), 3, 7),
    TenantPlan(
        "Osprey Ridge Energy", "osprey-ridge", "upgraded", (("Development", "dev"), ("Production", "production")), 5, 11
    ),
    TenantPlan("Quillstone Legal", "quillstone", "new", (("Production", "production"),), 2, 8),
)


#: Flows that others call: every tenant has them.
SHARED = frozenset({"report-failures", "crm-update-customer", "fraud-check", "look-up-order"})


def build(plan: TenantPlan, tenant: Tenant, people: Mapping[str, User], control: Control) -> None:
    """Environments, captures, and what makes this tenant's state."""
    flows = flows_of(plan)
    owner, operator = Doer(tenant, people["owner"]), Doer(tenant, people["operator"])
    last: tuple[SandboxSite, Environment] | None = None
    for name, kind in plan.environments:
        site = SandboxSite(control, f"{plan.slug}-{kind}", profile=OLDEST if plan.state in AGED else NEWEST)
        site.seed(flows)
        last = site, owner.add_environment(name, kind, site)
        if plan.state != "new":
            operator.capture(last[1], "baseline", "First capture")
    if last is not None and plan.state in ENDINGS:
        ENDINGS[plan.state](operator, *last, flows)


def flows_of(plan: TenantPlan) -> list[Flow]:
    own = [flow for flow in FLOWS if flow.key not in SHARED][plan.first :][: plan.count]
    return [*(flow for flow in FLOWS if flow.key in SHARED), *own]


def _drift(operator: Doer, site: SandboxSite, environment: Environment, flows: Sequence[Flow]) -> None:
    site.edit(flows[-1].key, setting(executionTimeout=600))
    site.edit("fraud-check", parameter("Score the payment", "url", "https://api.larkfield.example/risk/v2/score"))
    site.switch(next(flow.key for flow in flows if flow.active), False)
    operator.check(environment)
    operator.let_deadline_pass(environment, "fraud-check")


def _upgrade(operator: Doer, site: SandboxSite, environment: Environment, flows: Sequence[Flow]) -> None:
    site.upgrade(NEWEST)
    operator.check(environment)


def _shut_out(operator: Doer, site: SandboxSite, environment: Environment, flows: Sequence[Flow]) -> None:
    """Also after a restart of the sandbox, which forgets faults, this instance lets nobody in."""
    site.revoke_key()
    site.fault(kind="drop_before")
    operator.capture(environment, "scheduled", "Scheduled capture", ends="FAILED")
    operator.test_connection(environment)


#: What happens to the last environment of a tenant, by the tenant's state.
ENDINGS = {"drifting": _drift, "upgraded": _upgrade, "unreachable": _shut_out}
#: States that begin on the oldest n8n.
AGED = ("upgraded", "unreachable")
