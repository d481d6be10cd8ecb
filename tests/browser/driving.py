"""A person in front of the console: signs in, fills forms, presses buttons, reads what is there."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from opsconsole.demo.people import PASSWORD, PEOPLE

__all__ = ["PASSWORD", "Visitor"]

#: Long work in a test never takes longer; a failure says what was waited for.
PATIENCE_MS = 90_000


class Visitor:
    """One person in a browser context of their own. Sign-ins are kept for the next visit.

    ``who`` is one of the demo's people, or the address of somebody whom the test made: those are signed in by the test.
    """

    states: ClassVar[dict[tuple[str, str], Any]] = {}

    def __init__(
        self, browser: Any, base: str, who: str, *, width: int = 1280, theme: str = "light", tenant: str = ""
    ) -> None:
        self.base, self.who, self.tenant = base, who, tenant
        self.complaints: list[str] = []
        self._context = browser.new_context(
            viewport={"width": width, "height": 844 if width < 600 else 900},
            color_scheme=theme,
            reduced_motion="reduce",
            storage_state=self.states.get((base, who)),
        )
        self._context.set_default_timeout(60_000)
        self.page = self._context.new_page()
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(f"{self.page.url}: {error}"))
        if who in PEOPLE and (base, who) not in self.states:
            self.sign_in()
            self.states[base, who] = self._context.storage_state()

    def _heard(self, said: Any) -> None:
        # The browser itself reports each answer of 400 and more; pages that expect one are looked at for it.
        # htmx logs a request that ends because somebody goes to another page.
        harmless = ("Failed to load resource", "htmx:sendAbort", "htmx:afterRequest")
        if said.type == "error" and not any(word in said.text for word in harmless):
            self.complaints.append(f"{self.page.url}: {said.text}")

    def close(self) -> list[str]:
        self._context.close()
        return self.complaints

    # -- going ----------------------------------------------------------------------------------------------------

    def sign_in(self) -> None:
        self.page.goto(f"{self.base}/account/login/")
        self.page.fill("input[name=login]", PEOPLE[self.who].address if self.who in PEOPLE else self.who)
        self.page.fill("input[name=password]", PASSWORD)
        self.page.click("main form button:not([id])")
        self.page.wait_for_url(lambda url: "/login" not in url)

    def confirm_password(self) -> None:
        """Where the page asks whether it is still the same person; back where they were."""
        self.page.wait_for_url(re.compile("/account/reauthenticate/"))
        self.page.fill("input[name=password]", PASSWORD)
        self.press("Confirm", exact=True)
        self.page.wait_for_url(lambda url: "/reauthenticate/" not in url)

    def sign_out(self) -> None:
        self.page.goto(f"{self.base}/account/logout/")
        self.press("Sign out", exact=True)
        self.page.wait_for_url(re.compile("/account/login/"))

    def go(self, path: str = "") -> Any:
        """A page of the tenant, or of the platform where the path begins with a slash."""
        return self.page.goto(self.base + (path if path.startswith("/") else f"/t/{self.tenant}/{path}"))

    def text(self) -> str:
        return str(self.page.inner_text("main"))

    def sees(self, text: str, *, within: str = "main") -> None:
        """Wait until the text is there; live parts of a page bring it without a reload."""
        found = self.page.locator(within).get_by_text(text).first
        try:
            found.wait_for(state="visible", timeout=PATIENCE_MS)
        except Exception as error:
            raise AssertionError(f"“{text}” is not on {self.page.url}:\n{self.text()[:3000]}") from error

    def press(self, name: str, *, within: str = "main", exact: bool = False) -> None:
        self.page.locator(within).get_by_role("button", name=name, exact=exact).first.click()

    def follow(self, name: str, *, within: str = "main", exact: bool = False) -> None:
        self.page.locator(within).get_by_role("link", name=name, exact=exact).first.click()

    # -- what people do ---------------------------------------------------------------------------------------------

    def add_environment(self, name: str, kind: str, url: str, key: str) -> None:
        """Through the form; it is tested at once."""
        self.go("environments/new/")
        self.page.fill("[name=name]", name)
        self.page.fill("[name=slug]", kind)
        self.page.select_option("[name=kind]", kind)
        self.page.fill("[name=base_url]", url)
        self.page.fill("[name=api_key]", key)
        self.page.select_option("[name=capture_every]", "0")
        self.press("Add and test")
        self.page.wait_for_url(re.compile(r"/environments/[0-9a-f-]{36}/"))

    def capture(self, environment: str) -> None:
        """Capture and watch until it has ended."""
        self.go("snapshots/new/")
        self.page.select_option("[name=environment]", label=environment)
        self.press("Capture")
        self.page.wait_for_url(re.compile("/jobs/"))
        self.ends("Completed")

    def ends(self, how: str) -> None:
        """Stay on a job's page until it says how it ended."""
        self.page.locator("#job-live").get_by_text(how, exact=True).first.wait_for(timeout=PATIENCE_MS)

    def check(self, *, until: str) -> None:
        """Look for drift in every environment; reload the list until a workflow stands there."""
        self.go("drift/")
        self.press("Check now")
        self.page.wait_for_load_state()
        for _ in range(PATIENCE_MS // 500):
            self.go("drift/")
            if self.page.locator("main").get_by_role("link", name=until).count():
                return
            self.page.wait_for_timeout(500)
        raise AssertionError(f"“{until}” was not found to drift:\n{self.text()}")

    def plan(self, source: str, target: str, workflows: list[str], *, name: str) -> str:
        """Choose on the comparison and plan; the promotion's path."""
        self.go(f"promotions/new/?source={source}&target={target}")
        for workflow in workflows:
            self.page.get_by_label(f"Select {workflow}", exact=True).check()
        self.page.fill("#name", name)
        self.press("Plan the promotion")
        self.page.wait_for_url(re.compile(r"/promotions/[0-9a-f-]{36}/"))
        return str(self.page.url)[len(self.base) :]

    def confirm(self, opener: str, verb: str, **values: str) -> None:
        """Open a dialog, fill what it asks for (by field name), press its button."""
        self.press(opener)
        dialog = self.page.locator("dialog[open]")
        for field, value in values.items():
            dialog.locator(f"[name={field}]").fill(value)
        dialog.get_by_role("button", name=verb, exact=True).click()

    def start_promotion(self, path: str, target: str) -> None:
        self.go(path)
        self.confirm("Promote…", "Promote", typed=target)
