"""What the pages show of an operation."""

from __future__ import annotations

from typing import Any

from django.urls import NoReverseMatch, reverse

from core import clock
from core.registry import registry

from .models import Operation, OperationStatus, OperationStep, StepState

WORTH_SHOWING = 6


def job_url(operation: Operation) -> str:
    """The operation's own page, in its tenant or on the platform. Reads the tenant."""
    if operation.tenant is None:
        return reverse("platform-job", kwargs={"pk": operation.pk})
    return reverse("job", kwargs={"tenant_slug": operation.tenant.slug, "pk": operation.pk})


def job_urls(operation: Operation, tenant_slug: str) -> dict[str, str]:
    """Addresses of what can be done with an operation on its page; ``tenant_slug`` is empty on the platform's.

    Only a tenant's page hears of news as they come: the platform's asks for them.
    """
    if not tenant_slug:
        return {
            "list": reverse("platform-jobs"),
            "job": reverse("platform-job", kwargs={"pk": operation.pk}),
            "events": "",
            "cancel": reverse("platform-job-act", kwargs={"pk": operation.pk, "what": "cancel"}),
            "retry": reverse("platform-job-act", kwargs={"pk": operation.pk, "what": "retry"}),
            "give_up": reverse("platform-job-act", kwargs={"pk": operation.pk, "what": "give-up"}),
        }
    key = {"tenant_slug": tenant_slug, "pk": operation.pk}
    return {
        "list": reverse("jobs", kwargs={"tenant_slug": tenant_slug}),
        "job": reverse("job", kwargs=key),
        "events": reverse("job-events", kwargs=key),
        "cancel": reverse("job-cancel", kwargs=key),
        "retry": reverse("job-retry", kwargs=key),
        "give_up": reverse("job-give-up", kwargs=key),
    }


def subject_url(operation: Operation, tenant_slug: str) -> str:
    """The page of what the operation works on, or ''; ``tenant_slug`` is empty for the platform's."""
    name = registry.job_pages().get(operation.subject_type)
    if not name or not operation.subject_id:
        return ""
    if operation.kind == "snapshots.capture" and operation.status != OperationStatus.COMPLETED:
        return ""  # what it was to make is not there
    try:
        if not tenant_slug:
            return reverse(f"platform-{name}", kwargs={"pk": operation.subject_id})
        return reverse(name, kwargs={"tenant_slug": tenant_slug, "pk": operation.subject_id})
    except NoReverseMatch:
        return ""


def step_rows(steps: list[OperationStep]) -> list[dict[str, Any]]:
    """Steps for ``components/steps.html``."""
    return [
        {
            "name": step.title,
            "state": step.state,
            "intent": _facts(step.intent),
            "result": _facts(step.result),
            "error": (step.error or {}).get("message", ""),
            "recovery": (step.error or {}).get("recovery", ""),
            "started_at": step.started_at,
            "seconds": (step.ended_at - step.started_at).total_seconds() if step.ended_at else None,
        }
        for step in steps
    ]


def _facts(value: Any) -> str:
    """A line of the plain facts in a step's intent or result; long and nested values are left out."""
    if not isinstance(value, dict):
        return f"{len(value)} in all" if isinstance(value, list) else str(value or "")[:160]
    shown = [text for name, fact in value.items() if (text := _fact(name.replace("_", " "), fact))]
    return " · ".join(shown[:WORTH_SHOWING])


def _fact(name: str, fact: Any) -> str:
    if fact in (None, "", [], {}) or fact is False or isinstance(fact, dict):
        return ""
    if fact is True:
        return name
    if isinstance(fact, list):
        return f"{len(fact)} {name}"
    text = str(fact)
    return f"{name} {text[:12] if len(text) == 64 and text.isalnum() else text[:80]}"


def pace(operation: Operation) -> dict[str, Any]:
    """Rate and time left, from what is done since the start."""
    if operation.status != OperationStatus.RUNNING or not operation.started_at or operation.progress_done <= 0:
        return {"rate": "", "seconds_left": None}
    elapsed = max((clock.now() - operation.started_at).total_seconds(), 0.001)
    rate = operation.progress_done / elapsed
    left = (operation.progress_total - operation.progress_done) / rate if operation.progress_total else None
    return {"rate": f"{rate:.1f} a second" if rate < 100 else f"{rate:.0f} a second", "seconds_left": left}


def open_steps_first(steps: list[OperationStep], limit: int) -> tuple[list[OperationStep], int]:
    """The steps to draw and how many were left out: all that failed or are open, then the rest in order."""
    if len(steps) <= limit:
        return steps, 0
    loud = [s for s in steps if s.state not in (StepState.DONE, StepState.SKIPPED)][:limit]
    quiet = [s for s in steps if s.state in (StepState.DONE, StepState.SKIPPED)][: max(0, limit - len(loud))]
    return sorted(loud + quiet, key=lambda s: s.position), len(steps) - len(loud) - len(quiet)
