"""In a support session no page shows a link or a form that the server would refuse: what is shut is drawn shut."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from core.errors import OpsError
from impersonation.live import Live
from tests.running import Running

from .conftest import manage
from .driving import Visitor
from .factors import enrol_app
from .test_pages import links, route
from .test_support import start_by_keyboard

#: Every link and every form with a button that can be pressed, the banner's own aside.
OPEN = """all => all.filter(e => !e.closest("#support-banner")).map(e => e.matches("form")
    ? ["POST", new URL(e.getAttribute("action") ?? "", location).pathname, Object.fromEntries(new FormData(e))]
    : ["GET", new URL(e.getAttribute("href"), location).pathname, {}])"""
SHOWN = "a[href^='/']:not([aria-disabled]), form[method=post]:has(button:not([type=button]):enabled)"
PAGES = 32


def as_writing(console: Running) -> None:
    """Every live session may write, as if somebody had agreed."""
    lines = (
        "from impersonation.models import ImpersonationSession",
        "from tenants.scope import platform_scope",
        "with platform_scope(): ImpersonationSession.objects.filter(ended_at=None).update(mode='WRITE')",
    )
    manage(console.environment, "shell", "-v", "0", "-c", "\n".join(lines))


def refused(shown: list[Any], *, writes: bool) -> list[str]:
    """What of it the server would refuse."""
    live: Any = SimpleNamespace(writes=writes, tenant=SimpleNamespace(slug="larkfield"))
    found = []
    for method, path, sent in shown:
        try:
            Live.rule_of(live, path, method, sent)
        except OpsError as error:
            found.append(f"{method} {path} {error.code}")
    return found


def look_round(visitor: Visitor, *, writes: bool) -> tuple[list[str], set[str]]:
    """Go through the tenant's pages by their open links; what is shown and would be refused, and the kinds of page."""
    queue, done, wrong = ["/t/larkfield/", "/t/larkfield/promotions/new/"], set[str](), []
    while queue and len(done) < PAGES:
        path = queue.pop(0)
        if route(path) in done or not path.startswith("/t/larkfield/"):
            continue
        done.add(route(path))
        answer = visitor.go(path)
        if "text/html" not in answer.headers.get("content-type", ""):
            continue
        shown = visitor.page.eval_on_selector_all(SHOWN, OPEN)
        wrong += [f"{path}: {what}" for what in refused(shown, writes=writes)]
        queue += [link for link in links(visitor) if link not in queue]
    return wrong, done


def test_what_is_refused_is_shut(
    visit: Callable[..., Visitor], make_person: Callable[..., str], console: Running
) -> None:
    support = visit(make_person("Svea", "support"), tenant="larkfield")
    support.sign_in()
    start_by_keyboard(support, "larkfield", enrol_app(support), "Olive")
    wrong, seen = look_round(support, writes=False)
    assert not wrong, "\n".join(wrong)
    assert len(seen) > 20, seen

    support.go("members/")
    assert not support.page.locator("select[name=role]").first.is_enabled()
    assert "not possible in a support session" in str(
        support.page.locator(".nav-link[aria-disabled]").first.get_attribute("title")
    )
    support.sees("Read only: what would change something is disabled.")

    as_writing(console)
    wrong, _ = look_round(support, writes=True)
    assert not wrong, "\n".join(wrong)
    support.go("drift/policy/")
    assert support.page.get_by_role("button", name="Save", exact=True).is_enabled()
    support.page.locator("#support-banner").get_by_role("button", name="End now").click()
