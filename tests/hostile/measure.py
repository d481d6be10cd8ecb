"""Measures in a process of its own how much memory each way of reading an n8n takes for each answer.

Prints a line of JSON for each: what was read, which answer, MiB above idle, and how it ended. Each is tried in a child
of its own, forked from a process that has all loaded, so that what one left behind counts for no other.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import django

django.setup()  # before anything that holds models

from core import gc_tuning  # noqa: E402
from core.errors import OpsError  # noqa: E402
from snapshots.gathering import gather  # noqa: E402
from tests.hostile.answers import LARGE, Answering, Body  # noqa: E402
from workflows import live  # noqa: E402
from workflows.n8n import N8nClient, check_connection  # noqa: E402

ADDRESS = {"base_url": "https://n8n.example.org", "api_key": "key"}


@contextlib.contextmanager
def client_of(body: Body, *, with_contract: bool = True) -> Iterator[N8nClient]:
    transport = Answering(body, with_contract=with_contract)
    with N8nClient(**ADDRESS, transport=transport, sleep=lambda _seconds: None) as client:
        yield client


def captures(body: Body) -> None:
    with client_of(body) as client:
        gather(client, put=lambda data: str(len(data)), known={"1": "Odd"})


def lists_live(body: Body) -> None:
    with client_of(body) as client:
        for raw in client.iter_workflows(exclude_pinned_data=True, within_seconds=60):
            live._row(raw)


def reads_one(body: Body) -> None:
    with client_of(body) as client:
        client.get_workflow("1")


def tests_connection(body: Body) -> None:
    check_connection(**ADDRESS, transport=Answering(body), sleep=lambda _seconds: None)


def reads_contract(body: Body) -> None:
    with client_of(body, with_contract=False) as client:
        client.spec()


def lists_others(body: Body) -> None:
    with client_of(body) as client:
        for ask in (client.executions, client.list_credentials, client.tags, client.audit):
            with contextlib.suppress(OpsError):
                ask()


READERS: dict[str, Callable[[Body], None]] = {
    "capture": captures,
    "live list": lists_live,
    "one workflow": reads_one,
    "connection test": tests_connection,
    "contract": reads_contract,
    "other lists": lists_others,
}


def high_water_kib() -> int:
    found = Path("/proc/self/status").read_text()
    return int(found.split("VmHWM:")[1].split()[0])


def measured(read: Callable[[Body], None], body: Body) -> dict[str, Any]:
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts at what is held now
    before, began, ended = high_water_kib(), time.monotonic(), "answered"
    try:
        read(body)
    except OpsError as error:
        ended = error.code
    return {"mib": (high_water_kib() - before) / 1024, "ended": ended, "seconds": time.monotonic() - began}


def in_a_child(act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, json.dumps(act()).encode())
        except BaseException as error:  # noqa: BLE001 -- whatever it is, it is the result
            os.write(writing, json.dumps({"mib": 0, "ended": repr(error)[:300], "seconds": 0}).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as found:
        answer = found.read()
    os.waitpid(child, 0)
    return json.loads(answer) if answer else {"mib": 0, "ended": "died", "seconds": 0}


def main(only: str) -> None:
    gc_tuning.settle()
    for reader, read in READERS.items():
        for answer, body in LARGE.items():
            if only in (reader, answer, ""):
                row = {"reads": reader, "answer": answer, **in_a_child(lambda r=read, b=body: measured(r, b))}
                sys.stdout.write(json.dumps(row) + "\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
