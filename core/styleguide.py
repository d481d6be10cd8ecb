"""`/styleguide`: every component in every state, for the people who build and judge pages. Staff only."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path
from django.utils import timezone

from core.errors import Forbidden
from core.states import all_looks
from core.support_rules import LEAVES, in_support_session


class Example(forms.Form):
    """One field of each kind, so that their errors can be seen."""

    name = forms.CharField(max_length=60, help_text="What people call it; shown in lists and reports.")
    kind = forms.ChoiceField(choices=[("dev", "Development"), ("staging", "Staging"), ("production", "Production")])
    timeout = forms.IntegerField(min_value=1, max_value=600, initial=30, help_text="How long a call may take.")
    note = forms.CharField(widget=forms.Textarea(attrs={"rows": 2}), required=False)
    mode = forms.ChoiceField(choices=[("read", "Read only"), ("write", "May write")], widget=forms.RadioSelect)
    watch = forms.BooleanField(required=False, label="Look for drift", help_text="Every 15 minutes.")


def _steps() -> list[dict[str, Any]]:
    now = timezone.now()
    return [
        {
            "name": "Take a snapshot of production",
            "state": "completed",
            "seconds": 4.2,
            "intent": "Capture 41 workflows before anything changes.",
            "result": "Snapshot 7f3a9c12, 41 workflows, 3 new.",
        },
        {
            "name": "Write Order intake",
            "state": "completed",
            "seconds": 0.8,
            "result": "Read back: the hash is the one expected.",
        },
        {
            "name": "Write Invoice reminder",
            "state": "running",
            "started_at": now - timedelta(seconds=9),
            "intent": "Replace a0c4… by 91be…",
        },
        {
            "name": "Write Stock alert",
            "state": "failed",
            "seconds": 30,
            "intent": "Replace 0d11… by 77fe…",
            "error": "n8n did not answer within 30 s (PROMO_004).",
            "recovery": "Nothing was written; the step may be tried again.",
        },
        {"name": "Activate", "state": "pending"},
    ]


@in_support_session(LEAVES)
@login_required
def styleguide(request: HttpRequest) -> HttpResponse:
    """Show the page; `?toast=1` also leaves one message of each level, `?errors=1` a form with errors."""
    if not request.user.is_staff:
        raise Forbidden
    now = timezone.now()
    if request.GET.get("toast"):
        messages.success(request, "Snapshot taken: 41 workflows, 3 of them new.")
        messages.warning(request, "Staging has not been seen for 3 h.")
        messages.error(request, "Production did not answer within 30 s.")
    form = Example({"name": "", "timeout": "9000"}) if request.GET.get("errors") else Example()
    words = ["Order intake", "Invoice reminder", "Stock alert", "Lead enrichment", "Nightly export", "Refund approval"]
    states = ["in_sync", "differs", "drifted", "failed", "unknown", "missing"]
    context = {
        "form": form,
        "five": ["in_sync", "differs", "drifted", "failed", "unknown"],
        "others": ["missing", "inactive", "pending", "running", "parked", "completed", "cancelled"],
        "more": list({look.word: name for name, look in all_looks().items()}.values())[12:],
        "tones": ["good", "blue", "warn", "bad", "held", "grey"],
        "rows": [
            {
                "key": f"w{i}",
                "name": name,
                "states": [states[i], states[(i * 2) % 6], states[(i + 4) % 6]],
                "seen": now - timedelta(minutes=7**i),
                "size": 1800 * (i + 1) ** 3,
            }
            for i, name in enumerate(words)
        ],
        "steps": _steps(),
        "entries": [
            {
                "at": now - timedelta(minutes=2),
                "actor": "ada@example.com",
                "as_whom": "owner of Acme",
                "title": "Read Order intake",
                "state": "info",
            },
            {
                "at": now - timedelta(minutes=3),
                "actor": "ada@example.com",
                "title": "Restored Stock alert",
                "state": "restored",
                "text": "Content of snapshot 7f3a9c12.",
            },
            {"at": now - timedelta(days=3), "actor": "the scheduler", "title": "Drift found", "state": "drifted"},
        ],
        "changes": [
            {
                "kind": "changed",
                "title": "HTTP Request",
                "path": "parameters.url",
                "sentence": "The address it calls is another.",
                "before": "https://api.example.com/v1/orders",
                "after": "https://api.example.com/v2/orders",
            },
            {"kind": "added", "title": "Wait", "sentence": "A new node between Filter and HTTP Request."},
            {"kind": "removed", "title": "Slack"},
            {"kind": "moved", "title": "Filter", "sentence": "Only its place on the canvas."},
        ],
        "json": {"name": "Order intake", "active": True, "nodes": 12, "tags": ["billing"], "pinData": None},
        "spark": [2, 3, 2, 5, 4, 4, 9, 12, 7, 3, 1, 4],
        "columns": [(f"{hour:02}:00", (hour * 37) % 23 + 4) for hour in range(16)],
        "parts": [("in_sync", 31), ("differs", 5), ("drifted", 3), ("unknown", 2)],
        "when": {
            "just": now,
            "minutes": now - timedelta(minutes=12),
            "days": now - timedelta(days=4),
            "soon": now + timedelta(hours=2),
        },
        "long_id": "7f3a9c12e0b84d5f9a6c1b2d3e4f5a6b7c8d9e0f",
    }
    return render(request, "styleguide.html", context)


urlpatterns = [path("styleguide", styleguide, name="styleguide")]
