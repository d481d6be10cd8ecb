"""Take a picture of every page, light and dark, at 1280 and 390 px, into `screenshots/`, and say what is wrong with it.

    script/screenshots --url http://127.0.0.1:8000 --email owner@… --password …

Pages are found by following links from the start; of pages that share a route, the first `--each` are taken.
Each picture also reports axe violations, a page wider than the window, faults in the browser's console and answers
of 400 and more; any of them makes the exit code 1.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urljoin, urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from .chromium import FLAGS, browser_path

WIDTHS = {1280: 900, 390: 844}
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
LOGIN = "/account/login/"
# Never followed: they end the visit, answer with a file or a stream, or belong to Django.
SKIP = re.compile(
    r"^/(static|api|health|metrics|sse|admin/(?!$)|accounts?/logout)|/(download|manifest|raw|events)(/|$|\.)"
)
_ID = re.compile(r"^([0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{12,64}|\d+)$")


@dataclass
class Report:
    """What was taken and what was found wrong, as lines for a person."""

    taken: int = 0
    faults: list[str] = field(default_factory=list)


def signature(path: str) -> str:
    """Return the route of a path as far as its looks tell: ids and the tenant's slug are left open."""
    parts = path.strip("/").split("/")
    known = [":id" if _ID.match(part) else part for part in parts]
    if len(known) > 1 and known[0] == "t":
        known[1] = ":tenant"
    # In a tenant every second place after the list's name is the name of one of its rows.
    if len(known) > 3 and known[0] == "t":
        known[3] = ":id"
    return "/" + "/".join(known)


def sign_in(page: Page, base: str, email: str, password: str) -> None:
    """Sign in through the form, as a person does."""
    page.goto(urljoin(base, LOGIN))
    page.fill("input[name=login]", email)
    page.fill("input[name=password]", password)
    page.click("main form button:not([id])")
    page.wait_for_load_state()
    if LOGIN in page.url:
        raise SystemExit("The sign-in was refused: check --email and --password.")


def links(page: Page, base: str) -> list[str]:
    """Return the paths on this page that lead to other pages of the console."""
    host = urlsplit(base).netloc
    found = page.eval_on_selector_all("a[href]:not([download])", "all => all.map(a => a.href)")
    paths = []
    for href in found:
        parts = urlsplit(href)
        if parts.netloc == host and not SKIP.search(parts.path):
            paths.append(parts.path)
    return list(dict.fromkeys(paths))


def discover(page: Page, base: str, *, starts: list[str], each: int, limit: int) -> list[str]:
    """Return the paths to take: breadth first from `starts`, at most `each` of a route and `limit` in all."""
    queue, seen, routes = deque(starts), set(starts), Counter[str]()
    pages: list[str] = []
    while queue and len(pages) < limit:
        path = queue.popleft()
        route = signature(path)
        if routes[route] >= each:
            continue
        answer = page.goto(urljoin(base, path), wait_until="domcontentloaded")
        if answer is None or "text/html" not in (answer.headers.get("content-type") or ""):
            continue
        routes[route] += 1
        pages.append(path)
        for found in links(page, base):
            if found not in seen:
                seen.add(found)
                queue.append(found)
    return pages


def name_of(path: str, theme: str, width: int) -> str:
    """Return the picture's file name."""
    words = re.sub(r"[^a-z0-9]+", "-", path.strip("/").lower()).strip("-") or "start"
    return f"{words[:90]}.{theme}.{width}.png"


def take(page: Page, url: str, target: Path, *, width: int, axe: bool) -> list[str]:
    """Take one picture and return what is wrong with the page."""
    wrong: list[str] = []
    page.on("console", lambda said: wrong.append(f"console: {said.text}") if said.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    answer = page.goto(url, wait_until="load")
    page.wait_for_timeout(150)  # what htmx loads at once
    if answer is not None and answer.status >= 400:
        wrong.append(f"answered {answer.status}")
    wide = page.evaluate("document.documentElement.scrollWidth")
    if wide > width:
        wrong.append(f"{wide} px wide in a window of {width}")
    if axe:
        for violation in Axe().run(page).response["violations"]:
            where = ", ".join(str(node["target"][0]) for node in violation["nodes"][:3])
            wrong.append(f"axe {violation['id']} ({violation['impact']}): {where}")
    page.screenshot(path=str(target), full_page=True)
    return wrong


def pictures(
    browser: Browser, base: str, paths: list[str], folder: Path, *, state: dict[str, object] | None, axe: bool
) -> Report:
    """Take all pictures of `paths` into `folder`."""
    report = Report()
    for width, height in WIDTHS.items():
        for theme in THEMES:
            context: BrowserContext = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme=theme,
                storage_state=state,  # type: ignore[arg-type]
                reduced_motion="reduce",
            )
            for path in paths:
                page = context.new_page()
                wrong = take(page, urljoin(base, path), folder / name_of(path, theme, width), width=width, axe=axe)
                page.close()
                report.taken += 1
                report.faults += [f"{path} [{theme} {width}] {what}" for what in wrong]
            context.close()
    return report


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return what was asked for on the command line."""
    parser = argparse.ArgumentParser(description="Pictures of every page, light and dark, wide and narrow.")
    parser.add_argument("--url", default=os.environ.get("OPSCONSOLE_URL", "http://127.0.0.1:8000"))
    parser.add_argument("--email", default=os.environ.get("OPSCONSOLE_EMAIL"))
    parser.add_argument("--password", default=os.environ.get("OPSCONSOLE_PASSWORD"))
    parser.add_argument("--out", type=Path, default=Path("screenshots"))
    parser.add_argument("--page", action="append", default=[], help="only this path (again for more)")
    parser.add_argument("--each", type=int, default=1, help="pages of one route (default 1)")
    parser.add_argument("--limit", type=int, default=80, help="pages in all (default 80)")
    parser.add_argument("--no-axe", action="store_true", help="leave the accessibility check out")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Take the pictures; 0 when nothing was found wrong."""
    asked = options(arguments)
    asked.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=FLAGS)
        context = browser.new_context()
        page = context.new_page()
        public = [] if asked.page else [LOGIN]
        report = pictures(browser, asked.url, public, asked.out, state=None, axe=not asked.no_axe)
        state = None
        if asked.email and asked.password:
            sign_in(page, asked.url, asked.email, asked.password)
            state = dict(context.storage_state())
        paths = asked.page or discover(page, asked.url, starts=["/", "/styleguide"], each=asked.each, limit=asked.limit)
        context.close()
        signed = pictures(browser, asked.url, paths, asked.out, state=state, axe=not asked.no_axe)
        browser.close()
    faults = report.faults + signed.faults
    for fault in faults:
        print(fault)
    print(f"{report.taken + signed.taken} pictures of {len(paths)} pages in {asked.out}/, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
