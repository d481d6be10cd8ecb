"""Another tenant's id answers exactly as one that does not exist: the same code, the same words, the same questions.

The time an answer takes tells as well, so the statements that the database was asked are compared, not only their sum.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, models
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from conftest import Cast, owner_connection
from core.registry import registry
from tenants.scope import platform_scope

from .rows import one_of_each

pytestmark = pytest.mark.django_db

REFUSALS = (403, 404, 405, 422)
CHANGING = re.compile(r'csrf[^>]*value="[^"]+"|X-CSRFToken[^,}]*|nonce="[^"]+"|request_id[^,}]*|\b\d+ ms\b')
LITERALS = re.compile(r"'[^']*'|\b\d+\b|\"s\d+_x\d+\"")
PARAMETER = re.compile(r"<(?:(\w+):)?(\w+)>")


def tenant_routes() -> list[str]:
    """Every address below ``/t/<tenant_slug>/``, as Django writes it."""

    def walk(patterns: list[Any], prefix: str) -> Iterator[str]:
        for pattern in patterns:
            here = prefix + str(pattern.pattern)
            if isinstance(pattern, URLResolver):
                yield from walk(pattern.url_patterns, here)
            elif isinstance(pattern, URLPattern):
                yield here

    return sorted({route for route in walk(get_resolver().url_patterns, "/") if route.startswith("/t/")})


def filled(route: str, *, slug: str, ident: Any) -> str:
    def value(match: re.Match[str]) -> str:
        return slug if match.group(2) == "tenant_slug" else str(ident)

    return PARAMETER.sub(value, route)


class Told:
    """What an answer tells: the code, the words, and the statements behind it."""

    def __init__(self, client: Client, method: str, path: str, hidden: list[str], **more: Any) -> None:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            response = client.generic(method, path, **more)
        body = b"".join(response.streaming_content) if response.streaming else response.content  # type: ignore[attr-defined]
        text = CHANGING.sub("", body.decode())
        for word in (word for word in hidden if not word.isdigit()):
            text = text.replace(word, "…")
        self.status = response.status_code
        self.words = text
        self.asked = [LITERALS.sub("?", query["sql"]) for query in queries.captured_queries]

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, Told)
        return (self.status, self.words, self.asked) == (other.status, other.words, other.asked)

    def __repr__(self) -> str:
        return f"{self.status} after {len(self.asked)} statements: {self.words[:300]}\n" + "\n".join(
            statement[:160] for statement in self.asked
        )


@pytest.fixture
def theirs(cast: Cast) -> dict[type[models.Model], models.Model]:
    with platform_scope():
        one_of_each(cast.tenant)
        return one_of_each(cast.other_tenant)


@pytest.fixture
def browser(cast: Cast, client: Client) -> Client:
    client.force_login(cast.owner, backend=settings.AUTHENTICATION_BACKENDS[0])
    # The first request of a sign-in is noted, the next ones are not.
    client.get("/t/acme/jobs/")
    return client


def _named() -> dict[str, str]:
    """What an id in an address names, by the part of the address before it: the subjects' own pages."""
    pages = {subject.url_name: subject.table for subject in registry.subjects().values() if subject.url_takes_id}
    paths = {
        reverse(name, kwargs={"tenant_slug": "acme", "pk": uuid.UUID(int=0)}): table
        for name, table in pages.items()
        if name
    }
    return {path.removeprefix("/t/acme/").partition("/")[0]: table for path, table in paths.items()}


#: Beside them, what has no page of one.
NAMED = {
    **_named(),
    "environments": "environments",
    "snapshots": "snapshots",
    "promotions": "promotions",
    "drift": "drift_incidents",
    "rehearsals": "n8n_rehearsals",
    "jobs": "background_jobs",
    "tokens": "api_tokens",
    "workflows": "canonical_workflows",
    "runs": "report_runs",
    "schedules": "report_schedules",
    "sessions": "platform_impersonation_sessions",
    "requests": "support_requests",
    "approval-rules": "guard_changes",
    "invitations": "invitations",
}
#: Addresses whose parameter names nothing of a tenant's.
OF_THE_CONSOLE = ("/reports/<slug:name>/",)


def pairs(theirs: Any, cast: Cast, path: str) -> list[tuple[str, str]]:
    """(an id of another tenant, one that does not exist) for what the path names."""
    before = [part for part in re.split(r"[/<{]", path.partition("<tenant_slug>")[2] or path) if part]
    parts = [part for part in before if part in NAMED or part in ("members", "admins", "trail")]
    if any(part in path for part in OF_THE_CONSOLE):
        return []
    assert parts, f"say in NAMED what an id in {path} names"
    kind = parts[0]
    if kind in ("members", "admins"):
        return [(str(cast.stranger.pk), str(uuid.uuid4()))]
    if kind == "trail":
        with owner_connection() as owner:
            row = owner.execute("SELECT max(id) FROM audit_logs").fetchone()
        return [(str(row[0] if row and row[0] else 1), str(2**30))]
    rows = {model._meta.db_table: row for model, row in theirs.items()}
    found = [(str(rows[NAMED[kind]].pk), str(uuid.uuid4())), (str(cast.other_tenant.pk), str(uuid.uuid4()))]
    if kind in ("workflows", "environments") and "slug:" in path:
        word = rows[NAMED[kind]].key if kind == "workflows" else rows[NAMED[kind]].slug
        found.append((str(word), "no-such-thing"))
    return found


def test_a_foreign_id_in_a_page(cast: Cast, browser: Client, theirs: Any) -> None:
    for route in tenant_routes():
        if not PARAMETER.findall(route)[1:]:
            continue
        for known, missing in pairs(theirs, cast, route.replace("<slug:tenant_slug>", "<tenant_slug>")):
            for method in ("GET", "POST"):
                told = [
                    Told(browser, method, filled(route, slug="acme", ident=ident), [ident], content_type="")
                    for ident in (known, missing)
                ]
                assert told[0] == told[1], (route, method)
                assert told[0].status in REFUSALS, told[0]


def test_a_foreign_tenant_in_a_page(cast: Cast, browser: Client, theirs: Any) -> None:
    environment = next(row for model, row in theirs.items() if model._meta.db_table == "environments")
    for route in tenant_routes():
        ident = 1 if "<int:" in route else environment.pk
        for method in ("GET", "POST"):
            told = [
                Told(browser, method, filled(route, slug=slug, ident=ident), [slug], content_type="")
                for slug in ("umbrella", "nothing-here")
            ]
            assert told[0] == told[1], (route, method)
            assert told[0].status in (404, 405), told[0]
