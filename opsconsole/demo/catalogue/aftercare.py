"""Customers after the sale: returns, reviews, letters, their data, gift cards."""

# ruff: noqa: E501 -- code inside workflows is one line in n8n, too
from __future__ import annotations

from opsconsole.demo.drawing import (
    Flow,
    answer,
    email,
    form,
    http,
    schedule,
    sql,
    test,
    webhook,
)

from .names import API

AFTERCARE: tuple[Flow, ...] = (
    Flow(
        "returns-desk",
        "Returns desk",
        [
            webhook("Return announced", "returns/announce"),
            sql(
                "Within 60 days?",
                "select id, delivered_at > now() - interval '60 days' as ok from orders where id = $1",
                "$json.body.order_id",
            ),
            test("May come back?", "={{ $json.ok }}", "true", kind="boolean"),
            http("Return label", "POST", "https://labels.carrier.example/v2/returns", "={{ $json }}"),
            answer("Here is the label", '={{ { "label": $json.pdf_url } }}'),
            answer("Too late", '={{ { "error": "The 60 days are over." } }}', 409),
        ],
        "Return announced > Within 60 days? > May come back? > Return label > Here is the label; May come back?[1] > Too late",
        tags=("orders", "customer-facing"),
        on_failure="report-failures",
    ),
    Flow(
        "review-requests",
        "Review requests",
        [
            schedule("Every afternoon", field="hours", hoursInterval=24, triggerAtHour=15),
            sql(
                "Delivered ten days ago",
                "select email, name, id from orders where delivered_at::date = current_date - 10",
            ),
            email(
                "How was it?",
                "={{ $json.email }}",
                "How do you like it?",
                "=Hello {{ $json.name }},\n\ntell others how your order was: https://larkfield.example/review/{{ $json.id }}",
            ),
        ],
        "Every afternoon > Delivered ten days ago > How was it?",
        tags=("marketing",),
    ),
    Flow(
        "newsletter",
        "Newsletter sign-up",
        [
            form("Sign up", "Trail letters", "First name", "E-mail"),
            http("Already with us?", "GET", "=" + API + "/newsletter/{{ $json['E-mail'] }}"),
            test("New?", "={{ $json.id }}", "empty"),
            http("Add", "POST", f"{API}/newsletter", "={{ $json }}"),
            email(
                "Welcome",
                "={{ $json['E-mail'] }}",
                "Welcome to the trail letters",
                "Good to have you with us. The next letter comes on Friday.",
            ),
        ],
        "Sign up > Already with us? > New? > Add > Welcome",
        tags=("marketing", "customer-facing"),
    ),
    Flow(
        "data-erasure",
        "Data erasure",
        [
            webhook("Erase me", "privacy/erasure", credential="httpHeaderAuth"),
            sql(
                "Open orders?",
                "select count(*) as open from orders where lower(email) = lower($1) and state <> 'delivered'",
                "$json.body.email",
            ),
            test("None open?", "={{ $json.open }}", "equals", 0, kind="number"),
            sql(
                "Forget the person",
                "update customers set email = null, name = null, erased_at = now() where lower(email) = lower($1)",
                "$json.body.email",
            ),
            http(
                "Forget in the CRM",
                "DELETE",
                "=https://api.hubapi.com/crm/v3/objects/contacts/{{ $json.email }}",
                credential="hubspotAppToken",
            ),
            answer("Forgotten", '={{ { "erased": true } }}'),
            answer("Not yet", '={{ { "erased": false, "reason": "orders are open" } }}', 409),
        ],
        "Erase me > Open orders? > None open? > Forget the person > Forget in the CRM > Forgotten; None open?[1] > Not yet",
        tags=("privacy",),
        settings={"saveDataSuccessExecution": "none", "saveDataErrorExecution": "none", "saveManualExecutions": False},
        on_failure="report-failures",
        note="## Privacy\nNothing that passes here may be kept: execution data is off.",
    ),
    Flow(
        "gift-cards",
        "Gift card balance",
        [
            webhook("Balance asked", "giftcards/balance", method="GET"),
            sql("Look", "select balance, valid_until from gift_cards where code = $1", "$json.query.code"),
            answer("Balance", "={{ $json }}"),
        ],
        "Balance asked > Look > Balance",
        tags=("payments", "customer-facing"),
    ),
)
