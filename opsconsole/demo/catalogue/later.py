"""Made in development during the demo's history; not in the other environments at first."""

# ruff: noqa: E501 -- code inside workflows is one line in n8n, too
from __future__ import annotations

from opsconsole.demo.drawing import (
    Flow,
    agent,
    call,
    chat,
    code,
    http,
    model,
    sql,
    webhook,
)

LATER: tuple[Flow, ...] = (
    Flow(
        "loyalty-points",
        "Loyalty points",
        [
            webhook("Order delivered", "loyalty/delivered", answer="onReceived"),
            code(
                "Points",
                "return items.map(({ json }) => ({ json: { ...json.body, points: Math.floor(json.body.total / 10) } }));",
            ),
            sql(
                "Credit them",
                "update customers set points = points + $2 where email = $1",
                "$json.email",
                "$json.points",
            ),
            call("Tell the CRM", "crm-update-customer"),
        ],
        "Order delivered > Points > Credit them > Tell the CRM",
        active=False,
        tags=("marketing",),
        on_failure="report-failures",
    ),
    Flow(
        "delivery-slots",
        "Delivery slot assistant",
        [
            chat("Which day?"),
            agent("Find a slot", "Offer the three nearest free delivery slots. Speak plainly."),
            model("Slot model", "gpt-4o-mini"),
            http(
                "Free slots",
                "GET",
                "https://www.googleapis.com/calendar/v3/freeBusy",
                credential="googleCalendarOAuth2Api",
            ),
        ],
        "Which day? > Find a slot > Free slots; Slot model ~ai_languageModel > Find a slot",
        active=False,
        tags=("support", "ai"),
    ),
)
