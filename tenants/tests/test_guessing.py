"""Wrong passwords slow down whoever guesses, and nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from tenants import guessing

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"
HOME, OFFICE, ATTACKER = "192.0.2.1", "192.0.2.2", "198.51.100.7"


@pytest.fixture(autouse=True)
def _empty_counters() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def sign_in(email: str, password: str, *, address: str, browser: Client | None = None) -> bool:
    client = browser or Client()
    client.post("/account/login/", {"login": email, "password": password}, REMOTE_ADDR=address)
    return "_auth_user_id" in client.session


def guess(email: str, *, times: int, addresses: Any = (ATTACKER,)) -> None:
    for number in range(times):
        assert not sign_in(email, f"wrong {number}", address=addresses[number % len(addresses)])


def test_guessing_from_one_address_locks_nobody_out_at_another(cast: Any) -> None:
    guess(cast.owner.email, times=6)
    assert not sign_in(cast.owner.email, PASSWORD, address=ATTACKER), "who guesses has to wait"
    assert sign_in(cast.owner.email, PASSWORD, address=HOME)


def test_guessing_from_many_addresses_leaves_a_known_browser_free(cast: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guessing, "MOST_FAILURES", 8)
    known = Client()
    assert sign_in(cast.owner.email, PASSWORD, address=HOME, browser=known)
    known.post("/account/logout/")
    guess(cast.owner.email, times=8, addresses=[f"203.0.113.{n}" for n in range(1, 9)])
    assert not sign_in(cast.owner.email, PASSWORD, address=OFFICE), "an unknown browser has to wait"
    assert sign_in(cast.owner.email, PASSWORD, address=OFFICE, browser=known)
    assert sign_in(cast.viewer.email, PASSWORD, address=OFFICE), "another account is not concerned"


def test_a_known_browser_may_not_guess_for_ever(cast: Any) -> None:
    known = Client()
    assert sign_in(cast.owner.email, PASSWORD, address=HOME, browser=known)
    known.post("/account/logout/")
    for number in range(5):
        assert not sign_in(cast.owner.email, f"wrong {number}", address=HOME, browser=known)
    assert not sign_in(cast.owner.email, PASSWORD, address=HOME, browser=known)


@pytest.mark.parametrize("cookie", ["", "x", "WyJhIl0:1:abc", "é"])
def test_a_cookie_that_was_not_written_here_makes_nobody_known(rf: Any, cookie: str) -> None:
    request = rf.get("/")
    request.COOKIES[guessing.COOKIE] = cookie
    assert not guessing.is_known(request, "owner@example.com")


def test_a_browser_knows_several_people_and_only_those(rf: Any, cast: Any) -> None:
    known = Client()
    for user in (cast.owner, cast.viewer):
        assert sign_in(user.email, PASSWORD, address=HOME, browser=known)
        known.post("/account/logout/")
    request = rf.get("/")
    request.COOKIES[guessing.COOKIE] = known.cookies[guessing.COOKIE].value
    assert guessing.is_known(request, cast.owner.email.upper()) and guessing.is_known(request, cast.viewer.email)
    assert not guessing.is_known(request, cast.stranger.email)
