"""Server time and queries of every page, on a small, a middling and a large estate.

    script/bench pages [--requests 20] [--sizes 50x20,50x200,500x200] [--only tenant-home,compare]

Every address of the URL configuration that answers GET with a page is asked, in this process, warm, by a platform admin
who owns the tenant. The large estate has 500 tenants × 3 environments × 200 workflows. A page is marked where its p95 is
over 150 ms, or where it asks more queries of a larger estate than of a small one.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .setup import own_git_root, save, start_django, table

LIMIT_MS = 150
ROUNDS = 4
SLUG = "tenant-1"
#: Not pages: streams, files, doors for programs, and what Django and allauth bring for signing in.
#: ``snapshot-restore`` asks n8n before it answers: its time is that of the instance.
LEFT_OUT = (
    "job-events",
    "snapshot-download",
    "snapshot-restore",
    "api-",
    "admin:",
    "socialaccount",
    "account_",
    "mfa_",
    "javascript",
)


def addresses() -> dict[str, str]:
    """Name of the page to a path that can be asked; where a page takes an id, that of the first row there is."""
    from django.urls import NoReverseMatch, get_resolver, reverse

    found: dict[str, str] = {}
    for name, kwargs in _named(get_resolver()):
        if name.startswith(LEFT_OUT):
            continue
        values = {key: _value(name, key) for key in kwargs}
        if any(value is None for value in values.values()):
            continue
        try:
            found.setdefault(
                name if name not in found else f"{name} ({', '.join(kwargs)})", reverse(name, kwargs=values)
            )
        except NoReverseMatch:
            continue
    return found | _variants(found) | _admin()


def _named(resolver: Any, kwargs: tuple[str, ...] = ()) -> Iterator[tuple[str, tuple[str, ...]]]:
    for entry in resolver.url_patterns:
        here = (*kwargs, *entry.pattern.regex.groupindex)
        if hasattr(entry, "url_patterns"):
            if entry.namespace is None:
                yield from _named(entry, here)
        elif entry.name:
            yield entry.name, tuple(dict.fromkeys(here))


def _value(name: str, key: str) -> Any:
    """Something real for a part of an address."""
    from audit.models import AuditLog
    from drift.models import DriftIncident
    from operations.models import Operation
    from promotions.models import Promotion
    from snapshots.models import Snapshot
    from tenants.models import ApiToken, Tenant, User
    from tenants.scope import platform_scope, tenant_scope
    from workflows.models import CanonicalWorkflow, Environment

    if key == "tenant_slug":
        return SLUG
    if key == "environment_slug":
        return "staging"
    with platform_scope():
        tenant = Tenant.objects.get(slug=SLUG)
        person = User.objects.get(email="owner-1-2@example.org")
        token = ApiToken.objects.filter(tenant=tenant).order_by("name").first()
    with tenant_scope(tenant.pk):
        if key == "key":
            return CanonicalWorkflow.objects.order_by("key").values_list("key", flat=True)[6]
        if key == "user_id" or name.startswith("person"):
            return person.pk if key in ("user_id", "pk") else None
        if key != "pk":
            return None
        rows = {
            "drift": DriftIncident.objects.filter(incident_state="OPEN").order_by("pk"),
            "job": Operation.objects.filter(title="Job 3"),
            "promotion": Promotion.objects.order_by("-created_at"),
            "snapshot": Snapshot.objects.order_by("-created_at"),
            "environment": Environment.objects.filter(slug="staging"),
            "trail": AuditLog.objects.filter(tenant_id=tenant.pk).order_by("-id"),
            "platform-trail": AuditLog.objects.filter(tenant_id=tenant.pk).order_by("-id"),
            "token": None,
            "own-token": None,
        }
        if name.startswith(("token", "own-token")):
            return token.pk if token else None
        for start in sorted(rows, key=len, reverse=True):
            if name.startswith(start) and rows[start] is not None:
                return rows[start].values_list("pk", flat=True).first()
    return None


def _variants(found: dict[str, str]) -> dict[str, str]:
    """Pages whose work depends on what is asked of them."""
    from tenants.models import Tenant
    from tenants.scope import platform_scope, tenant_scope
    from workflows.models import Environment

    with platform_scope():
        tenant = Tenant.objects.get(slug=SLUG)
    with tenant_scope(tenant.pk):
        staging, production = (Environment.objects.get(slug=slug).pk for slug in ("staging", "production"))
    wanted = {
        "tenant-home, searched": ("tenant-home", "?q=invoices"),
        "tenant-home, worst first by tag": ("tenant-home", "?sort=trouble&group=tag"),
        "tenant-home, failing": ("tenant-home", "?state=failing"),
        "compare, two environments": ("compare", "?left=staging&right=production"),
        "trail, entry by entry": ("trail", "?view=entries"),
        "environment, changed in a week": ("environment", "?since=7d"),
        "promotion-create, compared": ("promotion-create", f"?source={staging}&target={production}"),
        "drift, all states": ("drift", "?state=all"),
        "jobs, failed": ("jobs", "?status=FAILED"),
        "estate, in trouble": ("estate", "?view=trouble"),
        "command, searched": ("command", "?q=workflow"),
    }
    return {title: found[name] + query for title, (name, query) in wanted.items() if name in found}


def _admin() -> dict[str, str]:
    from django.contrib import admin
    from django.urls import reverse

    lists = {
        f"admin: {model._meta.verbose_name_plural}": reverse(
            f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
        )
        for model in admin.site._registry
    }
    return {"admin": reverse("admin:index"), **lists}


class Walk:
    """Asks pages as one person."""

    def __init__(self) -> None:
        from django.test import Client

        from tenants.models import User

        from .estate import EMAIL

        self.client = Client()
        with _platform():
            self.client.force_login(
                User.objects.get(email=EMAIL), backend="allauth.account.auth_backends.AuthenticationBackend"
            )

    def is_page(self, path: str) -> bool:
        answer = self.client.get(path)
        kind = answer.headers.get("Content-Type", "")
        if answer.status_code >= 500:
            print(f"!! {path}: {answer.status_code}", flush=True)
        return answer.status_code == 200 and kind.startswith("text/html") and not answer.streaming

    def queries(self, path: str) -> int:
        from django.db import connection

        count = 0

        def counting(execute: Callable[..., Any], *arguments: Any) -> Any:
            nonlocal count
            count += 1
            return execute(*arguments)

        with connection.execute_wrapper(counting):
            self.client.get(path)
        return count

    def milliseconds(self, path: str, requests: int) -> list[float]:
        for _ in range(2):
            self.client.get(path)
        gc.collect()
        found = []
        for _ in range(requests):
            began = time.perf_counter()
            self.client.get(path)
            found.append((time.perf_counter() - began) * 1000)
        return sorted(found)


@contextmanager
def _platform() -> Iterator[None]:
    from tenants.scope import platform_scope

    with platform_scope():
        yield


def p95(values: list[float]) -> float:
    return values[min(len(values) - 1, round(0.95 * (len(values) - 1)))]


def measure(requests: int, only: str) -> dict[str, tuple[float, float, int]]:
    """Page to p50, p95 (ms) and the number of queries."""
    walk = Walk()
    found = {}
    for name, path in sorted(addresses().items()):
        if not any(part in name for part in only.split(",")) or not walk.is_page(path):
            continue
        times = walk.milliseconds(path, requests)
        for _ in range(ROUNDS - 1):
            # Who shares the machine can make a quick page slow, but never a slow one quick.
            if p95(times) <= LIMIT_MS:
                break
            times = min(times, walk.milliseconds(path, requests), key=p95)
        found[name] = (statistics.median(times), p95(times), walk.queries(path))
        print(f"{name:40} {found[name][0]:7.1f} {found[name][1]:7.1f} {found[name][2]:4}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/bench pages")
    parser.add_argument("--requests", type=int, default=20)
    parser.add_argument("--sizes", default="50x20,50x200,500x200")
    parser.add_argument("--only", default="")
    parser.add_argument("--keep", action="store_true", help="measure the estate that is there, write no result")
    options = parser.parse_args()
    if os.environ.get("OPSCONSOLE_MODE") not in ("dev", "test"):
        raise SystemExit("This empties the database: it runs in a development data folder only (script/bench).")
    start_django()
    from django.conf import settings

    from .estate import Size, build, put_into_git

    settings.ALLOWED_HOSTS = ["*"]
    sizes = [Size(*map(int, word.split("x"))) for word in options.sizes.split(",")]
    if options.keep:
        with own_git_root():
            put_into_git(sizes[-1])
            measure(options.requests, options.only)
        return
    results, seconds = [], []
    for size in sizes:
        with own_git_root():
            seconds.append(build(size))
            print(f"-- {size.tenants} × 3 × {size.workflows}, made in {seconds[-1]:.0f} s", flush=True)
            results.append(measure(options.requests, options.only))
    if not options.only:
        report(sizes, seconds, results)


def report(sizes: list[Any], seconds: list[float], results: list[dict[str, tuple[float, float, int]]]) -> None:
    """``results/pages.md``."""
    large = results[-1]
    rows, marked = [], 0
    for name, (middle, high, queries) in large.items():
        smaller = [found[name] for found in results[:-1] if name in found]
        marks = [f"over {LIMIT_MS} ms"] if high > LIMIT_MS else []
        marks += ["queries grow"] if smaller and queries > smaller[-1][2] else []
        marked += bool(marks)
        cells = [f"{found[1]:.0f} / {found[2]}" for found in smaller]
        rows.append(
            [
                name,
                f"{middle:.0f}",
                f"{high:.0f}",
                str(queries),
                *cells,
                "**" + ", ".join(marks) + "**" if marks else "",
            ]
        )
    head = [
        "page",
        "p50 ms",
        "p95 ms",
        "queries",
        *(f"p95 / queries at {s.tenants} × {s.workflows}" for s in sizes[:-1]),
        "",
    ]
    worst = max(large.items(), key=lambda item: item[1][1])
    body = (
        f"{sizes[-1].tenants} tenants × 3 environments × {sizes[-1].workflows} workflows, made in {seconds[-1]:.0f} s."
        f" {len(rows)} pages, {marked} marked; the slowest is {worst[0]} with a p95 of {worst[1][1]:.0f} ms."
        " Server time in the process, templates included, after two requests to warm up; a page over"
        f" the limit is measured up to {ROUNDS} times, and its quickest round counts.\n\n"
    )
    save("pages", command="script/bench pages", title="Every page on a large estate", body=body + table(head, rows))


if __name__ == "__main__":
    main()
