"""What others call when they need it: failures, customers, fraud, orders."""

# ruff: noqa: E501 -- code inside workflows is one line in n8n, too
from __future__ import annotations

from opsconsole.demo.drawing import (
    Flow,
    called,
    code,
    fields,
    http,
    on_error,
    slack,
    sql,
    test,
)

from .names import API

CALLED: tuple[Flow, ...] = (
    Flow(
        "report-failures",
        "Report failures",
        [
            on_error("Something failed"),
            fields(
                "What and where",
                workflow="={{ $json.workflow.name }}",
                node="={{ $json.execution.lastNodeExecuted }}",
                message="={{ $json.execution.error.message }}",
            ),
            test("From a customer-facing workflow?", "={{ $json.workflow }}", "regex", "^(Order|Payment|Refund)"),
            http("Page the engineer on call", "POST", f"{API}/oncall/events", "={{ $json }}", retry=True),
            slack(
                "Tell the team",
                "#automation",
                "={{ $json.workflow }} failed in “{{ $json.node }}”: {{ $json.message }}",
            ),
        ],
        """Something failed > What and where > From a customer-facing workflow? > Page the engineer on call
           From a customer-facing workflow?[1] > Tell the team; Page the engineer on call > Tell the team""",
        active=False,
        tags=("platform",),
        note="## Error workflow\nEvery other workflow names this one in its settings. Pages only for what customers feel.",
    ),
    Flow(
        "crm-update-customer",
        "CRM: update customer",
        [
            called("When called"),
            http(
                "Find in HubSpot",
                "GET",
                "=https://api.hubapi.com/crm/v3/objects/contacts/{{ $json.email }}?idProperty=email",
                credential="hubspotAppToken",
            ),
            test("Known already?", "={{ $json.id }}", "exists"),
            http(
                "Update contact",
                "PATCH",
                "=https://api.hubapi.com/crm/v3/objects/contacts/{{ $json.id }}",
                "={{ $json.properties }}",
                credential="hubspotAppToken",
                retry=True,
            ),
            http(
                "Create contact",
                "POST",
                "https://api.hubapi.com/crm/v3/objects/contacts",
                "={{ $json.properties }}",
                credential="hubspotAppToken",
                retry=True,
            ),
        ],
        "When called > Find in HubSpot > Known already? > Update contact; Known already?[1] > Create contact",
        active=False,
        tags=("crm", "shared"),
        settings={"callerPolicy": "workflowsFromSameOwner"},
        on_failure="report-failures",
    ),
    Flow(
        "fraud-check",
        "Fraud check",
        [
            called("When called"),
            http("Score the payment", "POST", f"{API}/risk/score", "={{ $json.payment }}", retry=True),
            code(
                "Decide",
                "const limit = 70;\nreturn items.map((item) => ({\n  json: { ...item.json, hold: item.json.score >= limit },\n}));",
                notes="Above the limit a person looks.",
            ),
            test("Hold it?", "={{ $json.hold }}", "true", kind="boolean"),
            slack(
                "Ask the payments desk",
                "#payments",
                "=Payment {{ $json.payment_id }} scored {{ $json.score }}. Please look.",
            ),
        ],
        "When called > Score the payment > Decide > Hold it? > Ask the payments desk",
        active=False,
        tags=("payments", "shared"),
        on_failure="report-failures",
    ),
    Flow(
        "look-up-order",
        "Look up order",
        [
            called("When called"),
            sql(
                "Find the order",
                "select id, state, carrier, tracking_code, placed_at from orders where id = $1 and lower(email) = lower($2)",
                "$json.order_id",
                "$json.email",
            ),
            test("Found?", "={{ $json.id }}", "exists"),
            fields(
                "What to say", text="=Order {{ $json.id }} is {{ $json.state }}, tracking {{ $json.tracking_code }}"
            ),
            fields("Not found", text="There is no order with this number and address."),
        ],
        "When called > Find the order > Found? > What to say; Found?[1] > Not found",
        active=False,
        tags=("orders", "shared"),
    ),
)
