"""Stock, parcels, prices, and what was sold of them."""

# ruff: noqa: E501 -- code inside workflows is one line in n8n, too
from __future__ import annotations

from opsconsole.demo.drawing import (
    Flow,
    answer,
    code,
    collect,
    email,
    http,
    schedule,
    slack,
    split,
    sql,
    test,
    webhook,
)

from .names import API

GOODS: tuple[Flow, ...] = (
    Flow(
        "stock-alerts",
        "Stock alerts",
        [
            schedule("Every 15 minutes", field="minutes", minutesInterval=15),
            http("Stock levels", "GET", f"{API}/stock?below=threshold", retry=True),
            split("Each product", "products"),
            test("Worth a word?", "={{ $json.sold_last_week }}", "gt", 5, kind="number"),
            slack(
                "Tell purchasing",
                "#purchasing",
                "={{ $json.name }}: {{ $json.left }} left, {{ $json.sold_last_week }} sold last week",
            ),
        ],
        "Every 15 minutes > Stock levels > Each product > Worth a word? > Tell purchasing",
        tags=("warehouse",),
        on_failure="report-failures",
    ),
    Flow(
        "shipping-labels",
        "Shipping labels",
        [
            webhook("Parcel packed", "warehouse/packed"),
            http("Order a label", "POST", "https://labels.carrier.example/v2/labels", "={{ $json.body }}", retry=True),
            sql(
                "Note the tracking code",
                "update orders set tracking_code = $2, state = 'shipped' where id = $1",
                "$json.order_id",
                "$json.code",
            ),
            answer("Label to the printer", '={{ { "label": $json.pdf_url } }}'),
        ],
        "Parcel packed > Order a label > Note the tracking code > Label to the printer",
        tags=("warehouse", "orders"),
        settings={"executionTimeout": 30},
        on_failure="report-failures",
    ),
    Flow(
        "parcel-tracking",
        "Parcel tracking",
        [
            schedule("Every hour", field="hours", hoursInterval=1),
            sql("On the way", "select id, carrier, tracking_code from orders where state = 'shipped'"),
            http(
                "Ask the carrier",
                "GET",
                "=https://track.carrier.example/{{ $json.tracking_code }}",
                credential="",
                retry=True,
            ),
            test("Arrived?", "={{ $json.status }}", "equals", "delivered"),
            sql(
                "Mark as delivered",
                "update orders set state = 'delivered', delivered_at = now() where tracking_code = $1",
                "$json.tracking_code",
            ),
            test("Stuck for days?", "={{ $json.days_without_scan }}", "gt", 3, kind="number"),
            slack(
                "Tell support",
                "#support",
                "=Parcel {{ $json.tracking_code }} was not scanned for {{ $json.days_without_scan }} days",
            ),
        ],
        "Every hour > On the way > Ask the carrier > Arrived? > Mark as delivered; Arrived?[1] > Stuck for days? > Tell support",
        tags=("warehouse",),
        on_failure="report-failures",
    ),
    Flow(
        "supplier-prices",
        "Supplier price import",
        [
            schedule("Mondays", field="weeks", triggerAtDay=[1], triggerAtHour=5),
            http("Price list", "GET", "https://suppliers.example/larkfield/prices.json", retry=True),
            split("Each price", "prices"),
            code(
                "Margins",
                "return items.map(({ json }) => ({\n  json: { ...json, sell: Math.ceil(json.cost * 1.62 * 100) / 100 },\n}));",
            ),
            sql(
                "Save",
                "insert into prices (sku, cost, sell) values ($1, $2, $3) on conflict (sku) do update set cost = excluded.cost, sell = excluded.sell",
                "$json.sku",
                "$json.cost",
                "$json.sell",
            ),
            collect("Count"),
            slack("Tell purchasing", "#purchasing", "={{ $json.data.length }} prices taken in"),
        ],
        "Mondays > Price list > Each price > Margins > Save > Count > Tell purchasing",
        tags=("purchasing",),
        on_failure="report-failures",
    ),
    Flow(
        "weekly-sales-digest",
        "Weekly sales digest",
        [
            schedule("Mondays at eight", field="cronExpression", expression="0 8 * * 1"),
            sql(
                "Last week",
                "select category, sum(total) as total, count(*) as orders from sales where day > current_date - 7 group by 1 order by 2 desc",
            ),
            code(
                "Make a table",
                "const lines = items.map(({ json }) => `${json.category}: £${json.total} in ${json.orders} orders`);\nreturn [{ json: { text: lines.join('\\n') } }];",
            ),
            email("To the board", "board@larkfield.example", "Sales last week", "={{ $json.text }}"),
        ],
        "Mondays at eight > Last week > Make a table > To the board",
        tags=("reports",),
        settings={"timezone": "Europe/London"},
    ),
)
