"""The main tenant's history: releases, a promotion that failed and was put back, drift settled and drift standing."""

# ruff: noqa: E501 -- code inside workflows is one line in n8n, too
from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence

from core import context
from core import support as reading
from core.demo import DemoStage, as_person
from core.registry import registry
from impersonation import services as support
from operations import engine
from operations import services as operations
from snapshots import services as snapshots
from tenants.models import Tenant, User
from workflows import services
from workflows.gateway import environment_by_id
from workflows.models import Environment

from .catalogue import FLOWS, LATER
from .doing import Doer
from .drawing import BASE, Flow
from .sites import SandboxSite, Site, both, insert_after, last_node, parameter, setting
from .supporting import DOOR, inside, look_along, note_request, try_the_admin

STOCK_CHECK = {
    "id": "6d0d3f0e-7d5b-4a55-9d53-3f1c0c5a7b11",
    "name": "In stock?",
    "type": f"{BASE}httpRequest",
    "typeVersion": 4.2,
    "parameters": {
        "method": "POST",
        "url": "https://api.larkfield.example/stock/reserve",
        "options": {"timeout": 3000},
    },
}
DIGEST = "select category, sum(total) as total, count(*) as orders from sales where day > current_date - 7 and not refunded group by 1 order by 2 desc"


class Story:
    """Larkfield Outdoors from its first capture to this morning."""

    def __init__(self, tenant: Tenant, people: Mapping[str, User], sites: Sequence[Site]) -> None:
        self.tenant, self.people = tenant, people
        self.dev_site, self.staging_site, self.production_site = sites
        self.owner, self.operator, self.approver = (
            Doer(tenant, people[word]) for word in ("owner", "operator", "approver")
        )

    def tell(self, begin: Callable[[str], None]) -> None:
        """Everything, in order; ``begin`` hears what each chapter is about."""
        for words, chapter in CHAPTERS:
            begin(words)
            chapter(self)

    # -- chapters -----------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Three environments, connected and captured; the first capture is the baseline."""
        for site in (self.dev_site, self.staging_site, self.production_site):
            site.seed([*FLOWS, *(LATER if site is self.dev_site and not site.has_faults else ())])
        self.dev = self.owner.add_environment("Development", "dev", self.dev_site, slug="dev")
        self.staging = self.owner.add_environment("Staging", "staging", self.staging_site, slug="staging")
        self.production = self.owner.add_environment(
            "Production", "production", self.production_site, slug="production"
        )
        for environment in (self.dev, self.staging, self.production):
            self.operator.capture(environment, "baseline", "First capture")
        self.owner.pair_credentials(self.dev, self.staging)
        self.owner.pair_credentials(self.staging, self.production)
        services.set_capture_schedule(tenant_id=self.tenant.pk, environment_id=self.production.pk, every_seconds=3600)

    def develop(self) -> None:
        """A sprint's work in development, approved there."""
        site = self.dev_site
        site.edit("order-intake", insert_after("Complete?", STOCK_CHECK))
        site.edit("weekly-sales-digest", parameter("Last week", "query", DIGEST))
        site.edit(
            "refund-approval", parameter("Small enough to pay at once?", "conditions.conditions.0.rightValue", 120)
        )
        site.edit("support-agent", parameter("Language model", "model.value", "gpt-4.1-mini"))
        site.edit(
            "fraud-check",
            parameter(
                "Decide",
                "jsCode",
                "const limit = 60;\nreturn items.map((item) => ({\n  json: { ...item.json, hold: item.json.score >= limit || item.json.country_mismatch },\n}));",
            ),
        )
        site.edit(
            "parcel-tracking",
            both(
                parameter("Every hour", "rule.interval.0.hoursInterval", 2),
                parameter("Stuck for days?", "conditions.conditions.0.rightValue", 2),
            ),
        )
        site.edit(
            "supplier-prices",
            parameter(
                "Margins",
                "jsCode",
                "return items.map(({ json }) => ({\n  json: { ...json, sell: Math.ceil(json.cost * 1.58 * 100) / 100 },\n}));",
            ),
        )
        if site.has_faults:
            site.seed(LATER)
        self.operator.capture(self.dev, description="Sprint 34, before the review")
        self.owner.approve_all(self.dev, "Approve development as of sprint 34")

    def release(self) -> None:
        """To staging, to production; one rolled back, one that failed half-way and was put back."""
        sprint = self.operator.plan(
            "Sprint 34",
            self.dev,
            self.staging,
            ["order-intake", "weekly-sales-digest", "refund-approval", "support-agent"],
        )
        self.operator.execute(sprint)
        second = self.operator.plan(
            "Sprint 34, second half",
            self.dev,
            self.staging,
            ["fraud-check", "parcel-tracking", "supplier-prices", "loyalty-points"],
        )
        self.operator.execute(second)
        self._into_production(
            "Release 34", ["order-intake", "weekly-sales-digest"], "Stock is reserved before an order is taken."
        )
        refunds = self._into_production("Refund limits", ["refund-approval"], "Pay back up to £120 without asking.")
        self.operator.roll_back(refunds, "Finance keeps the old limit until the audit is over.")
        self._fail_half_way()

    def _into_production(self, name: str, flows: Sequence[str], why: str, *, ends: str = "COMPLETED"):  # type: ignore[no-untyped-def]
        promotion = self.operator.plan(name, self.staging, self.production, flows, description=why)
        self.approver.approve(promotion, "Looked at the diff and at staging's runs of last week.")
        self.operator.execute(promotion, ends=ends)
        return promotion

    def _fail_half_way(self) -> None:
        """Production refuses the last of three writes; the first two are put back."""
        with self._refused("supplier-prices"):
            self._into_production(
                "Release 35",
                ["fraud-check", "parcel-tracking", "supplier-prices"],
                "Tighter fraud limits, quieter tracking, new margins.",
                ends="FAILED",
            )

    @contextlib.contextmanager
    def _refused(self, flow: str) -> Iterator[None]:
        """The sandbox refuses on call. A real n8n does where a workflow that runs gets a node that it does not know."""
        site = self.production_site
        if site.has_faults:
            path, message = f"/workflows/{site.id_of(flow)}$", "request/body/nodes/3/parameters must be object"
            site.fault(kind="status", status=400, message=message, method="PUT", path=path)
            try:
                yield
            finally:
                site.clear_faults()
            return
        # One of n8n's own package, so that no plan asks for a package.
        self.staging_site.switch(flow, False)
        self.staging_site.edit(flow, last_node(type=f"{BASE}larkfieldPriceList"))
        self.operator.capture(self.staging, description="Prices by a node of the suppliers")
        try:
            yield
        finally:
            self.staging_site.edit(flow, last_node(type=f"{BASE}slack"))
            self.staging_site.switch(flow, True)
        self.operator.capture(self.staging, description="Prices as before")

    def look_after_snapshots(self) -> None:
        """Snapshots of the usual kinds, and a restore after a slip."""
        self.operator.capture(self.staging, "scheduled", "Scheduled capture of Staging")
        self.operator.capture(self.dev, "manual_backup", "Before trying the new form")
        kept = self._last_snapshot(self.dev)
        self.dev_site.edit("newsletter", parameter("Add", "url", "https://api.larkfield.example/v2/newsletter"))
        self.operator.check(self.dev)
        self.operator.restore(self.dev, kept, ["newsletter"])

    def settle_drift(self) -> None:
        """Three edits in production: one taken back, one approved, one closed as it is."""
        site = self.production_site
        site.edit("gift-cards", parameter("Look", "query", "select balance from gift_cards where code = $1"))
        site.edit("sales-tax", parameter("Rates", "url", "https://tax.example/v2/rates/eu.json"))
        site.edit("returns-desk", setting(executionTimeout=45))
        self.operator.check(self.production)
        self.operator.stabilize(self.production, ["gift-cards"], "Nobody asked for this: the expiry date was gone.")
        self.operator.reconcile(self.production, ["sales-tax"], "The old address is switched off; this is right.")
        self.owner.close(
            self.production, "returns-desk", "accepted", "A longer limit for the sale; goes back in January."
        )

    def leave_things_waiting(self) -> None:
        """A release that waits for approval, and a draft that cannot go: its calendar is unknown in staging."""
        self.operator.plan(
            "Release 35, second try",
            self.staging,
            self.production,
            ["parcel-tracking", "supplier-prices", "loyalty-points"],
            description="The write that was refused has been looked into; margins as agreed with purchasing.",
        )
        self.dev_site.edit("stock-alerts", parameter("Worth a word?", "conditions.conditions.0.rightValue", 3))
        self.dev_site.edit("review-requests", parameter("How was it?", "subject", "Ten days on the trail: how was it?"))
        self.dev_site.switch("review-requests", False)
        self.operator.capture(self.dev, description="Work of today")
        self.owner.approve_all(self.dev, "Approve development as of today")
        self.operator.plan("Delivery slots", self.dev, self.staging, ["delivery-slots"], submit=False)

    def leave_drift_standing(self) -> None:
        """What somebody changed in production this morning, of every severity."""
        site = self.production_site
        site.edit(
            "payment-received",
            parameter("Verify the signature", "jsCode", "// skipped while the provider changes keys\nreturn items;"),
        )
        site.edit("shipping-labels", parameter("Order a label", "url", "https://labels.carrier.example/v3/labels"))
        site.edit("invoice-reminders", parameter("Tell finance", "text", "={{ $json.data.length }} reminders are out"))
        site.edit("translate-products", parameter("Translator", "options.temperature", 0.4))
        site.switch("stock-alerts", False)
        site.remove("price-list-backup")
        copy = next(f for f in FLOWS if f.key == "uptime-watch")
        site.seed(
            [Flow("uptime-watch-copy", "Uptime watch (copy)", copy.nodes, copy.wires, active=False, tags=("platform",))]
        )
        if isinstance(site, SandboxSite):
            # The editor saves by itself: somebody left off in the middle of an idea, and put another one away.
            half_done = parameter("Look", "query", "select balance, expires_at from gift_cards where code = $1 and")
            site.edit("gift-cards", half_done, author="Maya Okafor", draft=True)
            site.archive("newsletter")
        self.operator.check(self.production)
        self.operator.acknowledge(
            self.production, ["shipping-labels"], "The carrier told us; a promotion is on its way."
        )
        self.operator.date_back(self.production, "shipping-labels", hours=2)
        self.staging_site.switch("review-requests", False)
        self.operator.capture(self.staging, "scheduled", "Scheduled capture of Staging")

    def leave_jobs(self) -> None:
        """A job that was cancelled, and one that stands parked after its worker was lost."""
        with as_person(self.people["operator"]):
            waiting = snapshots.start_capture(
                tenant_id=self.tenant.pk,
                environment_id=self.staging.pk,
                description="Not needed after all",
                requested_by=self.people["operator"],
            )
            operations.cancel(tenant_id=self.tenant.pk, operation_id=waiting.pk, by=self.people["operator"])
            parked = operations.start(
                tenant_id=self.tenant.pk,
                kind="snapshots.capture",
                title="Capture Development",
                params={
                    "environment_id": str(self.dev.pk),
                    "snapshot_type": "manual_backup",
                    "description": "Nightly, by hand",
                    "snapshot_id": str(uuid.uuid4()),
                },
                requested_by=self.people["operator"],
                environment_id=self.dev.pk,
                max_attempts=1,
            )
        # A worker takes it and is never heard of again; the next one finds the attempts used up.
        for _ in range(2):
            engine.claim(operation_id=parked.pk, tenant_id=self.tenant.pk, lease_seconds=0)

    def support_session(self) -> None:
        """Support worked as the operator: reads, a refusal, then writes that the owner agreed to. Another one runs."""
        support_person, taken = self.people["support"], self.people["operator"]
        try_the_admin(self.people)
        with context.acting(**DOOR):
            session = support.start_session(
                actor=support_person,
                target=taken,
                tenant=self.tenant,
                reason="Labels come out twice since this morning",
                ticket="4821",
                origin=support.RequestOrigin(),
            )
            with inside(session, reading.READ_ONLY):
                note_request(self.tenant, "READ", "GET", "", 200)
                note_request(self.tenant, "READ", "GET", "drift/", 200)
                note_request(self.tenant, "REFUSED", "POST", "tokens/", 403, code="IMP_006")
            wish = support.request_write(
                session=session,
                by=support_person,
                reason="A capture is needed before looking further",
                origin=support.RequestOrigin(),
            )
            support.decide(request_id=wish.pk, by=self.people["owner"], approve=True)
            support.take_write(session=session, by=support_person)
            why = "Before looking into ticket 4821"
            with inside(session, reading.WRITE):
                operation = snapshots.start_capture(
                    tenant_id=self.tenant.pk,
                    environment_id=self.production.pk,
                    description=why,
                    requested_by=taken,
                )
                note_request(self.tenant, "CREATE", "POST", "snapshots/new/", 302, description=why)
            engine.drive(operation_id=operation.pk, tenant_id=self.tenant.pk)
            with inside(session, reading.WRITE):
                services.set_capture_schedule(
                    tenant_id=self.tenant.pk, environment_id=self.staging.pk, every_seconds=3600
                )
            support.end_session(session_id=session.pk, by=support_person, reason="ended by its own person")
        look_along(self.tenant, self.people)

    def tell_chapters(self) -> None:
        """What each app adds."""
        environments = {"dev": self.dev, "staging": self.staging, "production": self.production}
        stage = DemoStage(tenant=self.tenant, people=self.people, environments=environments)
        for chapter in registry.demo_chapters():
            chapter.tell(stage)

    def _last_snapshot(self, environment: Environment) -> uuid.UUID:
        found = environment_by_id(self.tenant.pk, environment.pk).last_snapshot_id
        assert found is not None  # noqa: S101 -- captured before
        return found


#: What is told, in this order, and what the page says meanwhile.
CHAPTERS: tuple[tuple[str, Callable[[Story], None]], ...] = (
    ("three environments are connected and captured", Story.begin),
    ("a sprint in development", Story.develop),
    ("releases to staging and production", Story.release),
    ("snapshots, and a restore after a slip", Story.look_after_snapshots),
    ("changes by hand, settled", Story.settle_drift),
    ("a release waits for approval", Story.leave_things_waiting),
    ("changes by hand of this morning", Story.leave_drift_standing),
    ("jobs that were cancelled and parked", Story.leave_jobs),
    ("support sessions", Story.support_session),
    ("executions and reports", Story.tell_chapters),
)
