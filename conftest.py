"""What every test starts from: a database made by the owner, used by the role that owns nothing; a named cast."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import connections
from psycopg import sql

from core.registry import registry
from tests.running import last_faults

# Playwright keeps an event loop in the thread that later tests use the database from.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"

ROOT = Path(__file__).parent
REFUSING = ("audit_seal", "audit_epoch", "audit_logentry")
KEPT = {"django_migrations", "django_content_type", "auth_permission"}


def _owner_url(name: str | None = None) -> str:
    base, _, current = os.environ["DATABASE_OWNER_URL"].rpartition("/")
    return f"{base}/{name or current}"


def _migrations_digest() -> str:
    digest = hashlib.sha256((ROOT / "requirements" / "base.txt").read_bytes())
    digest.update(repr((settings.INSTALLED_APPS, registry.grants())).encode())
    written_by = [ROOT / "tenants/rls.py", ROOT / "audit/triggers.py", ROOT / "impersonation/sql.py"]
    for path in [*sorted(ROOT.glob("*/migrations/*.py")), *written_by]:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


@contextlib.contextmanager
def _file_lock(name: str) -> Iterator[None]:
    with (Path(tempfile.gettempdir()) / f"opsconsole-{os.getuid()}-{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _make_database(worker: str) -> str:
    """A fresh database for this worker, copied from a template migrated once per set of migrations.

    Runs with other apps have a group of their own, which leaves this one's template alone.
    """
    base = _owner_url().rpartition("/")[2]
    group = f"test_{base}{os.environ.get('OPSCONSOLE_TEST_GROUP', '')}"
    template = f"{group}_template_{_migrations_digest()}"
    name = f"{group}_{worker}"
    with _file_lock(base), psycopg.connect(_owner_url(), autocommit=True) as owner:
        existing = {row[0] for row in owner.execute("SELECT datname FROM pg_database").fetchall()}
        if template not in existing:
            building = f"{template}_building"
            for old in [n for n in existing if n.startswith(f"{group}_template_")]:
                owner.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(old)))
            owner.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(building)))
            environment = {**os.environ, "OPSCONSOLE_AS_OWNER": "1", "DATABASE_OWNER_URL": _owner_url(building)}
            command = [sys.executable, str(ROOT / "manage.py"), "migrate", "--verbosity", "0"]
            subprocess.run(command, check=True, cwd=ROOT, env=environment)
            rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
            owner.execute(rename.format(sql.Identifier(building), sql.Identifier(template)))
        owner.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        owner.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
    return name


@pytest.fixture(scope="session")
def django_db_setup(request: pytest.FixtureRequest, django_db_blocker: Any) -> Iterator[None]:
    """Replaces pytest-django's: the login role of the tests could not create a database."""
    worker = getattr(request.config, "workerinput", {}).get("workerid", "main")
    name = _make_database(worker)
    settings.DATABASES["default"]["NAME"] = name
    connections["default"].settings_dict["NAME"] = name
    os.environ["DATABASE_URL"] = os.environ["DATABASE_URL"].rpartition("/")[0] + f"/{name}"
    os.environ["DATABASE_OPERATOR_URL"] = os.environ["DATABASE_OPERATOR_URL"].rpartition("/")[0] + f"/{name}"
    os.environ["DATABASE_OWNER_URL"] = _owner_url(name)
    settings.DATABASE_OPERATOR_URL = os.environ["DATABASE_OPERATOR_URL"]
    yield
    with django_db_blocker.unblock():
        connections.close_all()


def owner_connection() -> psycopg.Connection[Any]:
    """A connection as the owner of the tables, for tests that play the attacker or look behind row security."""
    return psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True)


def _empty_tables(*_args: Any, **_kwargs: Any) -> None:
    """Empty every table in one transaction; foreign keys are deferred, so order does not matter.

    The trail and its seals refuse even their owner, so their triggers are off meanwhile; they come last, because
    taking other rows away writes to the trail.

    DELETE, because a test leaves few rows: TRUNCATE of all tables makes new files for each and costs a hundred times
    as much.
    """
    with owner_connection() as owner, owner.transaction():
        tables = owner.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
            " AND NOT relispartition"
        )
        names = {row[0] for row in tables}
        for table in sorted(names - KEPT - set(REFUSING)):
            owner.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
        for table in REFUSING:
            name = sql.Identifier(table)
            owner.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(name))
            owner.execute(sql.SQL("DELETE FROM {}").format(name))
            owner.execute(sql.SQL("ALTER TABLE {} ENABLE TRIGGER USER").format(name))


@pytest.fixture(autouse=True, scope="session")
def _flush_as_owner() -> Iterator[None]:
    """Transactional tests end by emptying the tables, which the application itself must not be able to do."""
    from django.core.management.commands import flush

    patch = pytest.MonkeyPatch()
    patch.setattr(flush.Command, "handle", _empty_tables)
    yield
    patch.undo()


@pytest.fixture(autouse=True, scope="session")
def _context_of_wider_fixtures() -> None:
    """Fixtures of a module or of the session write before any test's context is set."""
    from core import context

    context.set_current(context.ActionContext(source="system"))


@pytest.fixture(autouse=True)
def _context() -> Iterator[None]:
    """Tests write as the system itself; what they ask of the console through its doors has its own context."""
    from core import context

    token = context.set_current(context.ActionContext(source="system"))
    yield
    context.reset(token)


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, settings: Any) -> None:
    """Each test has its own Git root and its own reports."""
    settings.GIT_ROOT = tmp_path / "git"
    settings.REPORTS_ROOT = tmp_path / "reports"


@pytest.fixture(autouse=True)
def _no_messages(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Operations wait for ``run_operations``; only tests with real workers send real messages."""
    if any(request.node.get_closest_marker(name) for name in ("kill", "browser", "console")):
        return
    from operations import tasks

    monkeypatch.setattr(tasks.drive, "apply_async", lambda *args, **kwargs: None)


@dataclass(frozen=True)
class Cast:
    """The people and tenants that tests are about. ``password`` signs everybody in."""

    tenant: Any
    other_tenant: Any
    admin: Any
    owner: Any
    operator: Any
    approver: Any
    viewer: Any
    stranger: Any  # owner of other_tenant, nobody in tenant
    support: Any
    officer: Any
    password: str = "correct horse battery"


def make_cast() -> Cast:
    """Create the cast through the services."""
    from tenants import services
    from tenants.models import PlatformRole, TenantRole

    def person(name: str, role: str = "member") -> Any:
        return services.create_user(email=f"{name}@example.org", name=name.title(), password=Cast.password, role=role)

    admin, owner, stranger = person("admin"), person("owner"), person("stranger")
    services.make_platform_admin(user=admin, by=None)
    tenant = services.create_tenant(name="Acme Robotics", slug="acme", owner=owner)
    other = services.create_tenant(name="Umbrella Trading", slug="umbrella", owner=stranger)
    staff = {}
    roles = {"operator": TenantRole.OPERATOR, "approver": TenantRole.APPROVER, "viewer": TenantRole.VIEWER}
    for name, role in roles.items():
        staff[name] = person(name)
        services.set_membership(tenant=tenant, user=staff[name], role=role, by=owner)
    return Cast(
        tenant=tenant,
        other_tenant=other,
        admin=admin,
        owner=owner,
        stranger=stranger,
        support=person("support", PlatformRole.SUPPORT),
        officer=person("officer", PlatformRole.COMPLIANCE_OFFICER),
        **staff,
    )


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()


@pytest.fixture
def live_cast(transactional_db: None) -> Cast:
    """The cast, committed: for tests with threads, workers or a live server."""
    return make_cast()


@pytest.fixture
def run_operations() -> Any:
    """Carry waiting operations through in this process, as a worker would: ``run_operations(tenant)``."""

    def run(tenant: Any) -> list[str]:
        from operations import engine
        from operations.models import Operation
        from tenants.scope import tenant_scope

        endings = []
        for _ in range(50):
            with tenant_scope(tenant.pk):
                open_ones = Operation.objects.filter(status__in=["PENDING", "RETRY_PENDING"])
                waiting = open_ones.order_by("created_at").first()
            if waiting is None:
                break
            endings.append(str(engine.drive(operation_id=waiting.pk, tenant_id=tenant.pk)))
        return endings

    return run


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--n8n", default="", choices=["", "sandbox", "live"], help="also ask a real n8n (script/n8n)")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and (faults := last_faults()):
        report.sections.append(("web.log of a running console", faults))
    return report
