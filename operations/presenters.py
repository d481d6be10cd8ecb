"""What the pages show of an operation."""

from __future__ import annotations

from typing import Any

from django.urls import NoReverseMatch, reverse

from core.registry import registry

from .models import Operation, OperationStatus, OperationStep, StepState
from .summaries import JobLink, summary_of

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
    return _address(name, tenant_slug, pk=operation.subject_id)


def made_links(operation: Operation, tenant_slug: str) -> list[tuple[str, str]]:
    """What a job worked on and made, as (words, address), without doubles; '' as slug: of the platform."""
    links, subject = _links_of_what_it_made(operation, tenant_slug), subject_url(operation, tenant_slug)
    if subject and subject not in {url for _, url in links}:
        links.insert(0, (f"Open {subject_noun(operation)}", subject))
    if operation.environment_id and not any(url for _, url in links):
        links = [("Open environment", _address("environment", tenant_slug, pk=operation.environment_id))]
    return [(words, url) for words, url in links if url]


def _links_of_what_it_made(operation: Operation, tenant_slug: str) -> list[tuple[str, str]]:
    found = summary_of(operation)
    return [(link.label, _address(link.page, tenant_slug, **_key(link))) for link in found.links] if found else []


def subject_noun(operation: Operation) -> str:
    """What the thing is called that a job works on."""
    nouns = (s.noun for s in registry.subjects().values() if s.job_subject == operation.subject_type)
    return next(nouns, "object")


def _key(link: JobLink) -> dict[str, str]:
    return {"pk": link.key} if link.key else {}


def _address(page: str, tenant_slug: str, **key: Any) -> str:
    """A page of the tenant, or of the platform without a slug; '' where there is no such page."""
    try:
        if not tenant_slug:
            return reverse(f"platform-{page}", kwargs=key)
        return reverse(page, kwargs={"tenant_slug": tenant_slug, **key})
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


def open_steps_first(steps: list[OperationStep], limit: int) -> tuple[list[OperationStep], int]:
    """The steps to draw and how many were left out: all that failed or are open, then the rest in order."""
    if len(steps) <= limit:
        return steps, 0
    loud = [s for s in steps if s.state not in (StepState.DONE, StepState.SKIPPED)][:limit]
    quiet = [s for s in steps if s.state in (StepState.DONE, StepState.SKIPPED)][: max(0, limit - len(loud))]
    return sorted(loud + quiet, key=lambda s: s.position), len(steps) - len(loud) - len(quiet)
