"""What keeps the shop itself in order."""

from __future__ import annotations

from opsconsole.demo.drawing import (
    Flow,
    agent,
    http,
    model,
    schedule,
    slack,
    split,
    sql,
    test,
)

UPKEEP: tuple[Flow, ...] = (
    Flow(
        "translate-products",
        "Translate product texts",
        [
            schedule("Every night", field="hours", hoursInterval=24, triggerAtHour=3),
            sql("Texts to translate", "select id, title, body from products where body_de is null limit 40"),
            agent("Translate", "Translate the product text into German. Keep measures and brand names."),
            model("Translator", "gpt-4o-mini", 0.0),
            sql("Keep the translation", "update products set body_de = $2 where id = $1", "$json.id", "$json.output"),
        ],
        "Every night > Texts to translate > Translate > Keep the translation; Translator ~ai_languageModel > Translate",
        tags=("catalogue", "ai"),
        active=False,
    ),
    Flow(
        "uptime-watch",
        "Uptime watch",
        [
            schedule("Every five minutes", field="minutes", minutesInterval=5),
            http("Shop answers?", "GET", "https://larkfield.example/health", credential=""),
            test("Well?", "={{ $json.status }}", "equals", "ok"),
            slack("It does not", "#automation", "The shop does not answer as it should."),
        ],
        "Every five minutes > Shop answers? > Well?; Well?[1] > It does not",
        tags=("platform",),
        settings={"saveDataSuccessExecution": "none"},
    ),
    Flow(
        "sales-tax",
        "Sales tax rates",
        [
            schedule("First of the month", field="months", monthsInterval=1, triggerAtHour=1),
            http("Rates", "GET", "https://tax.example/rates/eu.json", credential=""),
            split("Each country", "rates"),
            sql(
                "Save the rate",
                "insert into tax_rates (country, rate, from_day) values ($1, $2, current_date)",
                "$json.country",
                "$json.rate",
            ),
        ],
        "First of the month > Rates > Each country > Save the rate",
        tags=("finance",),
        on_failure="report-failures",
    ),
    Flow(
        "price-list-backup",
        "Price list backup",
        [
            schedule("Sundays", field="weeks", triggerAtDay=[0], triggerAtHour=4),
            sql("All prices", "select * from prices"),
            http(
                "To the archive",
                "PUT",
                "=https://archive.larkfield.example/prices/{{ $now.toISODate() }}.json",
                "={{ $json }}",
            ),
        ],
        "Sundays > All prices > To the archive",
        tags=("purchasing",),
    ),
)
