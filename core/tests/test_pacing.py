from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from core import pacing
from core.pacing import Paced, known_as, step_aside

CLIENT = "192.0.2.7"


class Asked:
    """What stands behind: it notes whom it let in, and answers when it may."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.person = ""
        self.may_answer = asyncio.Event()
        self.steps_aside = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.paths.append(scope["path"])
        if self.person:
            known_as(SimpleNamespace(scope=scope), self.person)
        if self.steps_aside:
            stepping = threading.Thread(target=pacing._turn.get().give_back)
            stepping.start()
            await asyncio.to_thread(stepping.join)
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"well"})


@pytest.fixture(autouse=True)
def small(settings: Any) -> None:
    settings.REQUESTS_PER_SECOND, settings.REQUESTS_AT_ONCE = 0.001, 3
    pacing._people.clear()


#: Somebody whom Django has accepted before.
KNOWN = {"Cookie": "sessionid=known"}


def known() -> None:
    pacing._people[hashlib.sha256(b"known").digest()] = "page ada"


class Door:
    def __init__(self, *, answers: bool = True) -> None:
        self.behind = Asked()
        if answers:
            self.behind.may_answer.set()
        self.paced = Paced(self.behind)

    async def ask(self, path: str = "/", *, client: str = CLIENT, **headers: str) -> tuple[int, dict[str, str], bytes]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        named = [(name.replace("_", "-").lower().encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "path": path, "headers": named, "client": (client, 5000)}
        await self.paced(scope, None, send)
        told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], told, sent[-1]["body"]

    async def statuses(self, times: int, path: str = "/", **headers: str) -> list[int]:
        return [(await self.ask(path, **headers))[0] for _ in range(times)]


def test_one_that_asks_too_much_is_refused_before_anything_is_done() -> None:
    async def play() -> None:
        door = Door()
        assert await door.statuses(5) == [200, 200, 200, 429, 429]
        assert len(door.behind.paths) == 3
        assert await door.statuses(1, client="192.0.2.8") == [200]

    asyncio.run(play())


@pytest.mark.parametrize(
    ("path", "headers", "told"),
    [
        ("/api/v1/workflows", {}, "application/json"),
        ("/t/acme/jobs/", {}, "text/html"),
        ("/t/acme/jobs/", {"HX_Request": "true"}, ""),
        ("/t/acme/jobs/", {"HX_Request": "true", "HX_Boosted": "true"}, "text/html"),
    ],
)
def test_the_refusal_says_when_to_come_back_in_the_form_that_was_asked_for(
    path: str, headers: Mapping[str, str], told: str
) -> None:
    async def play() -> None:
        door = Door()
        await door.statuses(3)
        status, found, body = await door.ask(path, **headers)
        assert status == 429 and 900 < int(found["retry-after"]) <= 1000
        assert found["cache-control"] == "no-store" and "default-src 'none'" in found["content-security-policy"]
        if told == "application/json":
            assert json.loads(body)["error"]["code"] == "TOO_FAST"
        elif told:
            assert b"TOO_FAST" in body and b"<h1>" in body
        else:
            assert json.loads(found["hx-trigger"])["toast"]["code"] == "TOO_FAST" and body == b""

    asyncio.run(play())


def test_health_and_files_have_no_part_in_it_and_no_end_either() -> None:
    async def play() -> None:
        door = Door()
        await door.statuses(4)
        assert await door.statuses(3, "/health") == [200] * 3
        assert await door.statuses(20, "/static/app.css") == [200] * 20
        assert (await door.statuses(10, "/static/app.css"))[-1] == 429

    asyncio.run(play())


def test_a_person_has_a_budget_of_their_own_once_django_knows_them() -> None:
    async def play() -> None:
        door = Door()
        door.behind.person = "page ada"
        assert await door.statuses(3, Cookie="theme=dark; sessionid=one") == [200] * 3  # the first is the address's
        assert await door.statuses(2, Cookie="sessionid=one") == [200, 429]
        assert await door.statuses(1) == [200]  # somebody else behind the address

    asyncio.run(play())


def test_made_up_credentials_count_for_the_address() -> None:
    async def play() -> None:
        door = Door()
        answers = [(await door.ask(Authorization=f"Bearer {number}"))[0] for number in range(5)]
        assert answers == [200, 200, 200, 429, 429]

    asyncio.run(play())


def test_another_sign_in_of_the_same_person_gets_no_more() -> None:
    async def play() -> None:
        door = Door()
        door.behind.person = "page ada"
        for number in range(3):
            await door.ask(Cookie=f"sessionid={number}", client=f"192.0.2.{number}")
        answers = [(await door.ask(Cookie=f"sessionid={number % 3}", client="192.0.2.9"))[0] for number in range(4)]
        assert answers == [200, 200, 200, 429]

    asyncio.run(play())


@pytest.mark.parametrize("proxies", [0, 1])
def test_the_address_is_believed_as_elsewhere(settings: Any, proxies: int) -> None:
    settings.TRUSTED_PROXIES = proxies

    async def play() -> None:
        door = Door()
        answers = [(await door.ask(X_Forwarded_For=f"10.0.0.1, 10.0.0.{n}"))[0] for n in range(5)]
        assert (429 in answers) is (proxies == 0)

    asyncio.run(play())


def test_few_of_one_person_are_worked_on_at_a_time_and_others_go_ahead(settings: Any) -> None:
    settings.REQUESTS_AT_ONCE = 100

    async def play() -> None:
        door = Door(answers=False)
        known()
        flood = [asyncio.create_task(door.ask("/slow", **KNOWN)) for _ in range(20)]
        await asyncio.sleep(0)
        other = asyncio.create_task(door.ask("/other", client="192.0.2.8"))
        await asyncio.sleep(0)
        assert door.behind.paths == ["/slow"] * pacing.WORKING_AT_ONCE + ["/other"]
        door.behind.may_answer.set()
        assert {status for status, *_ in await asyncio.gather(*flood, other)} == {200}
        await asyncio.sleep(0)
        assert len(door.paced._turns) == 0

    asyncio.run(play())


def test_a_call_that_waits_for_something_else_lets_another_one_work(settings: Any) -> None:
    settings.REQUESTS_AT_ONCE = 100

    async def play() -> None:
        door = Door(answers=False)
        door.behind.steps_aside = True
        waiting = [asyncio.create_task(door.ask("/wait")) for _ in range(pacing.WORKING_AT_ONCE * 2)]
        async with asyncio.timeout(10):
            while len(door.behind.paths) < len(waiting):
                await asyncio.sleep(0.001)
        door.behind.may_answer.set()
        await asyncio.gather(*waiting)

    asyncio.run(play())


def test_a_line_that_is_too_long_is_refused(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.REQUESTS_AT_ONCE = 100
    monkeypatch.setattr(pacing, "LONGEST_LINE", 2)

    async def play() -> None:
        door = Door(answers=False)
        known()
        asking = [asyncio.create_task(door.ask(**KNOWN)) for _ in range(pacing.WORKING_AT_ONCE + 3)]
        await asyncio.sleep(0)
        door.behind.may_answer.set()
        statuses = [status for status, *_ in await asyncio.gather(*asking)]
        assert statuses == [200] * (pacing.WORKING_AT_ONCE + 2) + [429]

    asyncio.run(play())


def test_nothing_is_counted_where_it_is_switched_off(settings: Any) -> None:
    settings.REQUESTS_PER_SECOND = 0

    async def play() -> None:
        assert await Door().statuses(50) == [200] * 50

    asyncio.run(play())


def test_outside_a_request_nobody_steps_aside() -> None:
    step_aside()


@pytest.mark.parametrize("other", ['pref={"a":1}', "foo bar", "u=\u00e9", "x[y]=1", "path=/x"])
def test_an_odd_cookie_beside_it_hides_no_sign_in(other: str) -> None:
    async def play() -> None:
        door = Door()
        cookie = f"{other}; sessionid=one"
        door.behind.person = "Ann"
        await door.ask(cookie=cookie)
        assert set(pacing._people.values()) == {"Ann"}
        assert await door.statuses(4, cookie=cookie) == [200, 200, 200, 429]

    asyncio.run(play())


def test_a_password_of_the_proxy_is_nobody_in_particular() -> None:
    async def play() -> None:
        door = Door()
        for person in ("Ann", "Ben"):
            door.behind.person = person
            await door.ask(authorization="Basic c2hhcmVk", cookie=f"sessionid={person}")
        assert set(pacing._people.values()) == {"Ann", "Ben"}

    asyncio.run(play())


def test_health_is_told_whatever_else_comes_from_there() -> None:
    async def play() -> None:
        door = Door()
        await door.statuses(pacing.ADDRESS_FACTOR * 3, "/static/css/base.css")
        assert await door.statuses(1, "/static/css/base.css") == [429]
        assert await door.statuses(1, "/health") == [200]

    asyncio.run(play())


def test_all_addresses_of_one_ipv6_customer_share_a_budget() -> None:
    async def play() -> None:
        door = Door()
        answers = [(await door.ask(client=f"2001:db8:1:2::{number}"))[0] for number in range(4)]
        assert answers == [200, 200, 200, 429]
        for other in ("2001:db8:1:3::1", "fe80::1%eth0", "::ffff:192.0.2.9"):
            assert (await door.ask(client=other))[0] == 200

    asyncio.run(play())
