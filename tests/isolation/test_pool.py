"""Behind pgbouncer in transaction mode, with one server connection for everybody, nobody meets another's context."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from django.conf import settings
from django.db import Error, connection, connections
from django.test import Client

from conftest import Cast
from tenants.models import Membership, Tenant
from tenants.scope import platform_scope, tenant_scope
from tests.waiting import until

REQUESTS = 10_000
THREADS = 6
CONFIGURATION = """\
[databases]
* = host={host} port={port} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 1
max_client_conn = 100
ignore_startup_parameters = extra_float_digits,options
logfile =
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def pooled(tmp_path: Path, live_cast: Cast) -> Iterator[Cast]:
    """New connections of this process go through a pool of one."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        if os.environ.get("OPSCONSOLE_REQUIRE_PGBOUNCER"):
            pytest.fail("pgbouncer is missing (Debian: apt install pgbouncer)")
        pytest.skip("pgbouncer is not installed")
    url = urlsplit(os.environ["DATABASE_URL"])
    listen = free_port()
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    file = folder / "pgbouncer.ini"
    file.write_text(
        CONFIGURATION.format(
            host=url.hostname, port=url.port, user=url.username, password=url.password or "", listen=listen
        )
    )
    # The pool's own user reads it; pytest's folders are for nobody else.
    folder.chmod(0o755)
    file.chmod(0o644)
    as_whom = ["-u", "nobody"] if os.getuid() == 0 else []
    log = (tmp_path / "pgbouncer.log").open("wb")
    process = subprocess.Popen([program, *as_whom, str(file)], stdout=log, stderr=log)
    known = connections.settings["default"]
    kept = {name: known[name] for name in ("HOST", "PORT")}
    try:
        until("pgbouncer listens", lambda: _answers(listen, settings.DATABASES["default"]["NAME"]))
        known.update(HOST="127.0.0.1", PORT=str(listen))
        yield live_cast
    finally:
        known.update(kept)
        process.terminate()
        process.wait(timeout=30)
        log.close()
        shutil.rmtree(folder)


def _answers(port: int, name: Any) -> bool:
    try:
        with psycopg.connect(host="127.0.0.1", port=port, dbname=name, user="opsconsole_app") as found:
            return found.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


class Visitor:
    """One of many at once; each act says what it saw that it must not."""

    def __init__(self, cast: Cast, seed: int) -> None:
        self.cast, self.chance, self.seen = cast, random.Random(seed), Counter[str]()
        self.client = Client()

    def run(self, requests: int) -> None:
        acts = [self.read, self.read_only, self.nothing, self.platform, self.fail, self.write]
        try:
            self.client.force_login(self.cast.owner, backend=settings.AUTHENTICATION_BACKENDS[0])
            for number in range(requests):
                act = self.page if number % 100 == 0 else self.chance.choice(acts)
                act()
                self.seen[act.__name__] += 1
        except BaseException as error:
            self.seen[f"LEAK {type(error).__name__}: {error}"] += 1
            raise
        finally:
            connection.close()

    def tenant(self) -> Tenant:
        return self.chance.choice([self.cast.tenant, self.cast.other_tenant])

    def read(self) -> None:
        tenant = self.tenant()
        with tenant_scope(tenant.pk):
            assert set(Membership.objects.values_list("tenant_id", flat=True)) == {tenant.pk}

    def read_only(self) -> None:
        tenant = self.tenant()
        with tenant_scope(tenant.pk, read_only=True):
            assert [row.pk for row in Tenant.objects.all()] == [tenant.pk]

    def write(self) -> None:
        tenant = self.tenant()
        with tenant_scope(tenant.pk):
            assert Membership.objects.update(created_at=tenant.created_at) == self.members[tenant.pk]

    def nothing(self) -> None:
        assert not Membership.objects.exists()
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_user, coalesce(current_setting('opsconsole.tenant_id', true), '')")
            assert cursor.fetchone() == ("opsconsole_app", "")

    def platform(self) -> None:
        with platform_scope():
            assert Tenant.objects.count() == 2

    def fail(self) -> None:
        tenant = self.tenant()
        try:
            with tenant_scope(tenant.pk), connection.cursor() as cursor:
                cursor.execute("SELECT 1 / 0")
        except Error:
            return
        raise AssertionError("a failing statement was taken")

    def page(self) -> None:
        assert self.client.get("/t/acme/jobs/").status_code == 200
        assert self.client.get("/t/umbrella/jobs/").status_code == 404

    @property
    def members(self) -> dict[Any, int]:
        return {self.cast.tenant.pk: 4, self.cast.other_tenant.pk: 1}


def test_ten_thousand_requests_through_one_connection(pooled: Cast) -> None:
    visitors = [Visitor(pooled, seed) for seed in range(THREADS)]
    each = REQUESTS // THREADS + 1
    threads = [threading.Thread(target=copy_context().run, args=[v.run, each]) for v in visitors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = sum((visitor.seen for visitor in visitors), Counter[str]())
    assert not [what for what in seen if what.startswith("LEAK")], seen
    assert seen.total() >= REQUESTS
