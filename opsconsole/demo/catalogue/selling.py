"""Orders, money, and the customers behind them."""

# ruff: noqa: E501 -- code inside workflows is one line in n8n, too
from __future__ import annotations

from opsconsole.demo.drawing import (
    Flow,
    agent,
    answer,
    call,
    chat,
    code,
    collect,
    email,
    http,
    memory,
    model,
    schedule,
    slack,
    split,
    sql,
    test,
    tool,
    wait,
    webhook,
)

from .names import API

SELLING: tuple[Flow, ...] = (
    Flow(
        "order-intake",
        "Order intake",
        [
            webhook("Order placed", "orders/intake", credential="httpHeaderAuth"),
            code(
                "Check the order",
                "return items.filter(({ json }) => json.body?.lines?.length > 0).map(({ json }) => ({\n  json: { ...json.body, total: json.body.lines.reduce((sum, line) => sum + line.price * line.quantity, 0) },\n}));",
            ),
            test("Complete?", "={{ $json.email }}", "exists"),
            sql(
                "Save the order",
                "insert into orders (id, email, total, placed_at) values ($1, $2, $3, now()) on conflict (id) do nothing returning *",
                "$json.id",
                "$json.email",
                "$json.total",
            ),
            call("Update the customer", "crm-update-customer"),
            answer("Accepted", '={{ { "accepted": true, "order": $json.id } }}', 202),
            answer("Refused", '={{ { "accepted": false, "reason": "incomplete" } }}', 422),
        ],
        """Order placed > Check the order > Complete? > Save the order > Update the customer > Accepted
           Complete?[1] > Refused""",
        tags=("orders", "customer-facing"),
        settings={"timezone": "Europe/London", "executionTimeout": 120},
        on_failure="report-failures",
        note="## Order intake\nThe shop posts here within a second of payment. Answers 202 or 422, never later than two seconds.",
    ),
    Flow(
        "payment-received",
        "Payment received",
        [
            webhook("Payment event", "payments/events", answer="onReceived"),
            code(
                "Verify the signature",
                "const crypto = require('crypto');\nreturn items.filter(({ json }) => {\n  const given = json.headers['x-signature'];\n  const made = crypto.createHmac('sha256', $env.PAYMENT_SECRET).update(JSON.stringify(json.body)).digest('hex');\n  return given === made;\n});",
            ),
            call("Check for fraud", "fraud-check"),
            test("Clear?", "={{ $json.hold }}", "notEquals", True, kind="boolean"),
            sql("Mark as paid", "update orders set state = 'paid', paid_at = now() where id = $1", "$json.order_id"),
            sql("Put on hold", "update orders set state = 'held' where id = $1", "$json.order_id"),
        ],
        "Payment event > Verify the signature > Check for fraud > Clear? > Mark as paid; Clear?[1] > Put on hold",
        tags=("payments", "customer-facing"),
        settings={"saveDataSuccessExecution": "none", "executionTimeout": 60},
        on_failure="report-failures",
    ),
    Flow(
        "refund-approval",
        "Refund approval",
        [
            webhook("Refund asked for", "refunds"),
            sql("Load the order", "select id, total, paid_at from orders where id = $1", "$json.body.order_id"),
            test("Small enough to pay at once?", "={{ $json.total }}", "lte", 80, kind="number"),
            http(
                "Pay back",
                "POST",
                f"{API}/payments/refunds",
                "={{ { order: $json.id, amount: $json.total } }}",
                retry=True,
            ),
            slack("Ask finance", "#finance", "=Refund of £{{ $json.total }} for order {{ $json.id }}: approve?"),
            wait("Give them a day", 24, "hours"),
            answer("Done", '={{ { "refund": "on its way" } }}'),
            answer("Under review", '={{ { "refund": "under review" } }}', 202),
        ],
        """Refund asked for > Load the order > Small enough to pay at once? > Pay back > Done
           Small enough to pay at once?[1] > Ask finance > Under review > Give them a day""",
        tags=("payments", "finance"),
        on_failure="report-failures",
    ),
    Flow(
        "invoice-reminders",
        "Invoice reminders",
        [
            schedule("Every working day at 7:30", field="cronExpression", expression="30 7 * * 1-5"),
            sql(
                "Invoices overdue",
                "select id, email, name, amount, due_on, current_date - due_on as days from invoices where paid_at is null and due_on < current_date",
            ),
            test("More than two weeks?", "={{ $json.days }}", "gt", 14, kind="number"),
            email(
                "Second reminder",
                "={{ $json.email }}",
                "=Invoice {{ $json.id }} is {{ $json.days }} days overdue",
                "=Dear {{ $json.name }},\n\nplease pay £{{ $json.amount }} by the end of the week.",
            ),
            email(
                "First reminder",
                "={{ $json.email }}",
                "=A reminder: invoice {{ $json.id }}",
                "=Dear {{ $json.name }},\n\nour invoice over £{{ $json.amount }} was due on {{ $json.due_on }}.",
            ),
            collect("All of today"),
            slack("Tell finance", "#finance", "={{ $json.data.length }} reminders sent"),
        ],
        """Every working day at 7:30 > Invoices overdue > More than two weeks? > Second reminder > All of today > Tell finance
           More than two weeks?[1] > First reminder > All of today""",
        tags=("finance",),
        settings={"timezone": "Europe/London"},
        on_failure="report-failures",
    ),
    Flow(
        "crm-nightly-sync",
        "CRM: nightly sync",
        [
            schedule("At night", field="hours", hoursInterval=24, triggerAtHour=2),
            http("Customers changed", "GET", f"{API}/customers?changed_since=yesterday", retry=True),
            split("One by one", "customers"),
            call("Update each", "crm-update-customer"),
            collect("How many"),
            slack("Say so", "#automation", "={{ $json.data.length }} customers written to the CRM"),
        ],
        "At night > Customers changed > One by one > Update each > How many > Say so",
        tags=("crm",),
        settings={"executionTimeout": 1800},
        on_failure="report-failures",
    ),
    Flow(
        "support-agent",
        "Customer support agent",
        [
            chat("A customer writes"),
            agent(
                "Answer",
                "You help customers of an outdoor shop. Look orders up before you speak of them. Never promise a refund.",
            ),
            model("Language model", "gpt-4o-mini"),
            memory("What was said"),
            tool("Order look-up", "look-up-order", "Finds an order by its number and the customer's e-mail address."),
            test("Wants a person?", "={{ $json.output }}", "contains", "colleague"),
            slack("Hand over", "#support", "=A customer asks for a person: {{ $json.output }}"),
        ],
        """A customer writes > Answer > Wants a person? > Hand over
           Language model ~ai_languageModel > Answer; What was said ~ai_memory > Answer; Order look-up ~ai_tool > Answer""",
        tags=("support", "ai", "customer-facing"),
        on_failure="report-failures",
    ),
)
