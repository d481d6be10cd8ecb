"""Every page of the demo estate: no accessibility violation, no page wider than its window, nothing refused by the
content policy, no fault in the browser's console; light and dark, wide and narrow."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from core.registry import registry

from .conftest import manage
from .driving import Visitor

#: Not pages: files, streams, parts that are fetched into pages, answers to forms, and Django's own admin.
NO_PAGES = re.compile(
    r"^(api|static|admin|metrics|prometheus|health|account/|sse)|(events|news|download|manifest|raw|retry|cancel|give-up|/test"
    r"|archive|verify|settle|check|go|enter|revoke|remove|role|end|palette|progress|news|theme"
    r"|create|credential|service-accounts|people/\*/\*|/csv)/?$"
)
STARTS = {
    "owner": [
        "/",
        "/t/larkfield/",
        "/t/harrow-freight/",
        "/t/quillstone/",
        "/t/osprey-ridge/drift/upgrades/",
        "/t/larkfield/promotions/new/",
    ],
    "admin": ["/", "/styleguide", "/platform/jobs/", "/platform/tenants/", "/platform/people/"],
}
#: A page of what the demo does not have: a session of the one who looks.
NOT_IN_THE_DEMO = {"/platform/support/mine", "/t/*/rehearsals/*"}
MOST = 90
#: Pages that lead elsewhere while the thing runs than afterwards: some of each are looked at.
OF_MANY_KINDS = re.compile(r"/support/sessions/[0-9a-f-]+/$")
LOOKS = [(1280, "light"), (390, "light"), (1280, "dark"), (390, "dark")]
#: Each width and each theme once: what axe says of a colour has nothing to do with the width.
AXE_LOOKS = [(1280, "light"), (390, "dark")]


def links(visitor: Visitor) -> list[str]:
    found = visitor.page.eval_on_selector_all(
        # Links within an SVG have no text for `href`, but an object.
        "a[href]:not([download]):not([target=_blank])",
        "all => all.map(a => new URL(a.getAttribute('href'), document.baseURI).href)",
    )
    paths = [href[len(visitor.base) :].partition("#")[0] for href in found if href.startswith(visitor.base)]
    no_page = re.compile(r"^/(static|api|admin|health)|logout|/(events|news|download|manifest)")
    return list(dict.fromkeys(path for path in paths if path and not no_page.search(path)))


def route(path: str) -> str:
    """Pages of one kind, views (`?view=`) apart: tenants, ids and keys of workflows are left open."""
    plain, _, query = path.partition("?")
    plain = re.sub(r"/[0-9a-f]{8}-[0-9a-f-]{27}(?=/|$)|/\d+(?=/|$)", "/:id", plain)
    plain = re.sub(r"^/t/[^/]+", "/t/:tenant", plain)
    plain = re.sub(r"/workflows/[^/]+", "/workflows/:key", plain)
    view = re.search(r"\bview=(\w+)", query)
    return plain.rstrip("/") + (f"?{view[0]}" if view else "")


def one_of_the_platform(console: Any) -> list[str]:
    """A job of the platform's own: after many jobs of tenants the list has none on its first page."""
    lines = (
        "from operations.models import Operation",
        "from tenants.scope import platform_scope",
        "with platform_scope(): print(Operation.objects.filter(tenant=None).latest('created_at').pk)",
    )
    return [f"/platform/jobs/{manage(console.environment, 'shell', '-v', '0', '-c', chr(10).join(lines)).strip()}/"]


@pytest.fixture(scope="module")
def pages(browser: Any, console: Any) -> dict[str, list[str]]:
    """One page of each kind that can be reached by links, for the owner and for the platform admin."""
    found: dict[str, list[str]] = {}
    done: set[str] = set()
    for who, starts in STARTS.items():
        visitor = Visitor(browser, console.url, who)
        queue, taken, tries = [*starts, *(one_of_the_platform(console) if who == "admin" else ())], [], Counter[str]()
        while queue and len(taken) < MOST:
            path = queue.pop(0)
            # One that is refused here may open elsewhere: a tenant out of reach, a person without the role.
            if (route(path) in done and not OF_MANY_KINDS.search(path)) or tries[route(path)] == 3:
                continue
            tries[route(path)] += 1
            answer = visitor.go(path)
            if answer.status >= 400 or "text/html" not in answer.headers.get("content-type", ""):
                continue
            done.add(route(path))
            taken.append(path)
            queue += links(visitor)
        visitor.close()
        found[who] = taken
    return found


@pytest.mark.timeout(1200)  # one walk through all pages; a quiet machine takes a quarter of that
@pytest.mark.parametrize("who", STARTS)
def test_each_page_is_accessible_and_fits(pages: dict[str, list[str]], visit: Callable[..., Visitor], who: str) -> None:
    """Each page is loaded once and looked at in every width and theme."""
    wrong: list[str] = []
    visitor = visit(who)
    for path in pages[who]:
        visitor.page.set_viewport_size({"width": 1280, "height": 900})
        answer = visitor.go(path)
        if answer.status >= 400:
            wrong.append(f"{path}: answered {answer.status}")
        wrong += [f"{path} {what}" for what in look_at(visitor.page)]
        wrong += [f"{path} {what}" for what in visitor.page.evaluate(DIALOGS)]
    assert not wrong, "\n".join(wrong)


#: Every dialog with a form can be left by a button that says so, and begins at a field or at that button.
DIALOGS = """() =>
 [...document.querySelectorAll("dialog:has(form)[id]:not(#command):not(#confirm)")].flatMap(dialog => {
  dialog.showModal();
  const said = [], focused = document.activeElement;
  const leaves = [...dialog.querySelectorAll("button[command=close]")].some(button => button.innerText.trim());
  if (!leaves) said.push(`dialog ${dialog.id}: no button leaves it`);
  if (focused.matches(".dialog-close") || focused === document.body)
    said.push(`dialog ${dialog.id}: focus on ${focused.outerHTML.slice(0, 80)}`);
  dialog.close();
  return said;
})"""


def look_at(page: Any) -> list[str]:
    """What is wrong with the page: its fit in each look, accessibility in one of each width and each theme."""
    return [f"[{theme} {width}]: {what}" for width, theme in LOOKS for what in look(page, width, theme)]


def look(page: Any, width: int, theme: str) -> list[str]:
    """What is wrong with the page in this width and theme."""
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 900})
    wide = page.evaluate("document.documentElement.scrollWidth")
    found = [f"{wide} px wide"] if wide > width else []
    # Cards hold all their columns in sight: a list of them never scrolls sideways.
    found += page.eval_on_selector_all(
        ".table-wrap:has(> .cards)",
        "all => all.filter(e => e.scrollWidth > e.clientWidth && innerWidth < 640)"
        ".map(e => `${e.ariaLabel}: ${e.scrollWidth} px in ${e.clientWidth}`)",
    )
    if (width, theme) not in AXE_LOOKS:
        return found
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(Axe().axe_script)
    for violation in page.evaluate("axe.run({resultTypes: ['violations']}).then(found => found.violations)"):
        where = ", ".join(str(node["target"][0]) for node in violation["nodes"][:3])
        found.append(f"axe {violation['id']} ({violation['impact']}) at {where}")
    return found


def rail(**places: str) -> list[str]:
    """The addresses of the rail: of a tenant's, or without one of the platform's."""
    entries = registry.rail(of_platform=not places)
    return [reverse(entry.url_name, kwargs=places) for entry in entries if not entry.url_name.startswith("admin:")]


LISTS = {
    "owner": [
        *rail(tenant_slug="larkfield"),
        *(f"/t/larkfield/{path}" for path in ("credentials/", "promotions/new/", "workflows/crm-nightly-sync/")),
    ],
    "admin": rail(),
}


@pytest.mark.parametrize("who", LISTS)
def test_no_column_of_a_list_is_out_of_sight_on_a_phone(visit: Callable[..., Visitor], who: str) -> None:
    visitor = visit(who, tenant="larkfield", width=390)
    for path in LISTS[who]:
        visitor.go(path)
        for inside, whole in visitor.page.eval_on_selector_all(
            ".table-wrap", "all => all.map(e => [e.clientWidth, e.scrollWidth])"
        ):
            assert whole <= inside, f"{path}: {whole} px in {inside}"


def test_what_will_happen_is_in_sight_on_a_phone(visit: Callable[..., Visitor]) -> None:
    visitor = visit("operator", tenant="larkfield", width=390)
    visitor.go("drift/")
    chosen = visitor.page.eval_on_selector_all("[name=selected]", "all => all.slice(0, 2).map(e => e.value)")
    visitor.go("snapshots/")
    snapshot = visitor.page.locator("tbody th a").last.get_attribute("href")
    settle = "&".join(f"selected={one}" for one in chosen)
    for path in (f"drift/settle/?action=stabilize&{settle}", snapshot, f"{snapshot}restore/"):
        visitor.go(path)
        found = visitor.page.eval_on_selector_all(".table-wrap", "all => all.map(e => [e.clientWidth, e.scrollWidth])")
        assert found, path
        for inside, whole in found:
            assert whole <= inside, f"{path}: {whole} px in {inside}"


def test_public_pages_are_accessible_and_fit(browser: Any, console: Any) -> None:
    context = browser.new_context()
    page = context.new_page()
    wrong: list[str] = []
    for path in ("/account/login/", "/account/logout/", "/account/password/reset/", "/nowhere"):
        page.goto(console.url + path)
        wrong += [f"{path} {what}" for what in look_at(page)]
    context.close()
    assert not wrong, "\n".join(wrong)


def test_every_named_page_was_looked_at(pages: dict[str, list[str]]) -> None:
    """A page that nothing links to, or that the crawl misses, is a page nobody looks at."""
    looked = {re.sub(r":\w+", "*", route(path).partition("?")[0]) for paths in pages.values() for path in paths}
    missing = sorted(p for p in named_pages() if not any(_same(p, q) for q in looked))
    assert not missing, f"no link leads to: {missing}"


def named_pages() -> set[str]:
    """Patterns of the URL conf that answer with a page, parameters as `*`."""
    found: set[str] = set()

    def walk(patterns: list[Any], before: str) -> None:
        for entry in patterns:
            way = before + re.sub(r"<[^>]+>|\(\?P<.*?\)", "*", str(entry.pattern)).strip("^$")
            if isinstance(entry, URLResolver):
                walk(entry.url_patterns, way)
            elif isinstance(entry, URLPattern) and entry.name and not NO_PAGES.search(way) and _is_read(entry):
                found.add("/" + way.strip("/"))

    walk(get_resolver().url_patterns, "")
    return found - NOT_IN_THE_DEMO


def _is_read(entry: URLPattern) -> bool:
    return "GET" in getattr(entry.callback, "methods", ("GET",))


def _same(one: str, other: str) -> bool:
    left, right = one.strip("/").split("/"), other.strip("/").split("/")
    return len(left) == len(right) and all(a == b or "*" in (a, b) for a, b in zip(left, right, strict=True))
