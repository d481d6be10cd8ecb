"""What a support session costs a request, over the same page without one.

    script/bench support [--requests 200] [--rounds 5]

The same page of the same tenant, asked by the customer's user and by somebody of support in that user's place, in turns,
in this process, warm. Statements are counted without BEGIN and COMMIT, which are also shown. Targets: at most one
statement and one millisecond (median) more.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

from .setup import fresh_tenant, save, start_django, table

PAGES = {
    "matrix": "",
    "jobs": "jobs/",
    "drift": "drift/",
    "members": "members/",
    "jobs, mine": "jobs/?mine=1",
}


def people() -> tuple[Any, Any, str, str]:
    """Two browsers, the customer's user and support in their place, the session's mode set later; the slug."""
    from django.conf import settings
    from django.test import Client

    from impersonation import services
    from impersonation.live import HINT
    from tenants.models import TenantRole
    from tenants.services import create_user, set_membership

    settings.ALLOWED_HOSTS = ["*"]
    tenant, owner = fresh_tenant()
    mark = tenant.slug
    viewer = create_user(email=f"viewer-{mark}@example.org", name="Viewer")
    set_membership(tenant=tenant, user=viewer, role=TenantRole.OPERATOR, by=owner)
    staff = create_user(email=f"support-{mark}@example.org", name="Support", role="support")
    browsers = []
    for person in (viewer, staff):
        browser = Client()
        browser.force_login(person, backend="allauth.account.auth_backends.AuthenticationBackend")
        browsers.append(browser)
    session = services.start_session(
        actor=staff, target=viewer, tenant=tenant, reason="Measuring what this costs",
        origin=services.RequestOrigin(sign_in=services.digest(browsers[1].session.session_key)),
    )  # fmt: skip
    stored = browsers[1].session
    stored[HINT] = str(session.pk)
    stored.save()
    return browsers[0], browsers[1], str(session.pk), tenant.slug


def statements(browser: Any, path: str) -> tuple[int, int]:
    """Statements of one request, and round trips with BEGIN and COMMIT."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as captured:
        answer = browser.get(path)
    assert answer.status_code == 200, (path, answer.status_code)
    control = ("BEGIN", "COMMIT")
    return len([q for q in captured.captured_queries if not q["sql"].startswith(control)]), len(captured)


def milliseconds(act: Callable[[], Any]) -> float:
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1000


def compare(plain: Any, within: Any, path: str, *, requests: int, rounds: int) -> tuple[float, float, float]:
    """Medians without and within, and the median of the differences of neighbours: a noisy machine slows both."""
    for _ in range(20):
        plain.get(path)
        within.get(path)
    gc.collect()
    differences, all_plain, all_within = [], [], []
    for _ in range(rounds):
        one, other = [], []
        for number in range(requests):
            pair = [(one, plain), (other, within)]
            for into, browser in pair if number % 2 == 0 else pair[::-1]:
                into.append(milliseconds(lambda browser=browser: browser.get(path)))
        differences += [within_ms - plain_ms for plain_ms, within_ms in zip(one, other, strict=True)]
        all_plain += one
        all_within += other
    return statistics.median(all_plain), statistics.median(all_within), statistics.median(differences)


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/bench support")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    start_django()
    from impersonation.models import ImpersonationSession, Mode
    from tenants.scope import platform_scope

    plain, within, session, slug = people()
    rows = []
    for mode in (Mode.READ_ONLY, Mode.WRITE):
        with platform_scope():
            ImpersonationSession.objects.filter(pk=session).update(mode=mode)
        for name, page in PAGES.items():
            path = f"/t/{slug}/{page}"
            before, after, more = compare(plain, within, path, requests=options.requests, rounds=options.rounds)
            (asked, trips), (asked_within, trips_within) = statements(plain, path), statements(within, path)
            met = "met" if more <= 1 and asked_within - asked <= 1 else "**missed**"
            rows.append([
                name, mode.label.lower(), f"{before:.2f}", f"{after:.2f}", f"{more:+.2f}", f"{asked_within - asked:+d}",
                f"{trips_within - trips:+d}", met,
            ])  # fmt: skip
            print(rows[-1], flush=True)
    head = ["page", "mode", "without, ms", "within, ms", "more, ms", "statements", "round trips", "≤ 1 and ≤ 1 ms"]
    save(
        "support",
        command="script/bench support",
        title="What a support session costs a request",
        body=f"{options.requests} requests of each, in turns, {options.rounds} rounds; medians.\n\n"
        + table(head, rows),
    )


if __name__ == "__main__":
    main()
