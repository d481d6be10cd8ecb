"""Second factors in a real browser: set up, asked for, used, under the content policy; each page accessible."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.running import Running

from .driving import Visitor
from .factors import add_authenticator, code_of, enrol_app, enter_code
from .test_pages import look_at

HOME = re.compile(r"^https?://[^/]+/(\?.*)?$")


def looks_fine(visitor: Visitor) -> None:
    """No violation, no page wider than its window, in every width and theme; then as it was."""
    size = visitor.page.viewport_size
    wrong = look_at(visitor.page)
    visitor.page.set_viewport_size(size)
    visitor.page.emulate_media(color_scheme="light", reduced_motion="reduce")
    assert not wrong, f"{visitor.page.url}: " + "\n".join(wrong)


@pytest.fixture
def at_localhost(browser: Any, console: Running) -> Any:
    """Keys belong to a name, never to an address in digits."""
    made: list[Visitor] = []

    def enter(who: str) -> Visitor:
        made.append(Visitor(browser, console.url.replace("127.0.0.1", "localhost"), who))
        return made[-1]

    yield enter
    complaints = [line for visitor in made for line in visitor.close()]
    assert not complaints, "\n".join(complaints)


def test_an_authenticator_app(visit: Callable[..., Visitor], make_person: Callable[..., str]) -> None:
    person = visit(make_person("Totter"))
    person.sign_in()
    person.go("/account/2fa/")
    person.follow("Set up")
    person.confirm_password()
    looks_fine(person)
    wrong = "000000" if code_of(person.page.get_by_label("Authenticator secret").input_value()) != "000000" else "1"
    person.page.fill("input[name=code]", wrong)
    person.press("Activate", exact=True)
    person.sees("Incorrect code.")
    looks_fine(person)

    secret = enrol_app(person)
    looks_fine(person)
    person.follow("Show")
    codes = person.page.get_by_label("Unused codes").input_value().split()
    assert len(codes) == 10
    looks_fine(person)

    # The password alone opens nothing any more.
    person.sign_out()
    person.sign_in()
    looks_fine(person)
    assert not person.page.get_by_role("button", name="Use a security key").count()
    person.go("/account/email/")
    assert "/account/2fa/authenticate/" in person.page.url
    enter_code(person, secret, "Sign in")
    person.page.wait_for_url(HOME)

    # The telephone is gone: a code from the list does, once.
    person.sign_out()
    person.sign_in()
    person.page.fill("input[name=code]", codes[0])
    person.press("Sign in", exact=True)
    person.page.wait_for_url(HOME)
    person.sign_out()
    person.sign_in()
    person.page.fill("input[name=code]", codes[0])
    person.press("Sign in", exact=True)
    person.sees("Incorrect code.")
    person.press("Use another account", exact=True)
    person.page.wait_for_url(re.compile("/account/login/"))


def test_a_passkey(at_localhost: Callable[..., Visitor], make_person: Callable[..., str]) -> None:
    person = at_localhost(make_person("Keyes"))
    add_authenticator(person)
    person.sign_in()
    person.go("/account/2fa/")
    person.follow("Add a key")
    person.confirm_password()
    looks_fine(person)
    person.page.get_by_label("Name").fill("The laptop")
    person.page.get_by_label("Passwordless").check()
    person.press("Add", exact=True)
    person.page.wait_for_url(re.compile("/account/2fa/(?!webauthn/add)"))
    person.go("/account/2fa/webauthn/")
    person.sees("The laptop")
    looks_fine(person)

    # Nothing is typed at all.
    person.sign_out()
    person.press("Sign in with a passkey")
    person.page.wait_for_url(HOME)

    # The key as the second factor after a password.
    person.sign_out()
    person.sign_in()
    looks_fine(person)
    person.press("Use a security key")
    person.page.wait_for_url(HOME)

    # To take it off it is asked for once more; then the password alone will do.
    person.go("/account/2fa/webauthn/")
    person.follow("Remove The laptop")
    person.follow("Use a security key")
    looks_fine(person)
    person.press("Use a security key")
    person.page.wait_for_url(re.compile("/remove/"))
    looks_fine(person)
    person.press("Remove")
    person.page.wait_for_url(re.compile("/account/2fa/webauthn/$"))
    person.sign_out()
    person.sign_in()
    person.page.wait_for_url(HOME)
