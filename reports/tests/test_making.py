"""How a report is made, kept and proven."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from audit.models import AuditLog
from core import clock
from reports import files, formats, making, services
from reports.definitions import report_named, settle
from reports.models import ReportRun
from reports.tests.helpers import asked_for, made, some_events
from tenants.scope import platform_scope, tenant_scope

pytestmark = pytest.mark.django_db


def test_rows_are_streamed(cast: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than one chunk is fetched before its rows are asked for."""
    monkeypatch.setattr(formats, "CHUNK_ROWS", 10)
    some_events(cast.tenant, 35)
    fetched: list[int] = []
    with tenant_scope(cast.tenant.pk, read_only=True):
        from django.db import connection

        real = connection.chunked_cursor

        def watched() -> Any:
            cursor = real()
            fetch = cursor.fetchmany
            # The wrapper hands attributes through, so that what is set here is what is called.
            cursor.fetchmany = lambda count: fetched.append(count) or fetch(count)
            return cursor

        monkeypatch.setattr(connection, "chunked_cursor", watched)
        asked = settle(as_of=clock.now())
        rows = formats.rows_of(report_named("refused-attempts"), formats.query_values(asked, platform=False))
        next(rows)
        assert fetched == [10]
        assert len(list(rows)) == 34
    assert fetched == [10] * 5


def test_a_changed_file_is_found(cast: Any) -> None:
    some_events(cast.tenant, 1)
    run = made("refused-attempts", cast.tenant)
    path = services.file_of(run)
    assert path.stat().st_mode & 0o077 == 0
    path.write_bytes(path.read_bytes().replace(b"REFUSED", b"ALLOWED"))
    assert not services.verify(run).holds
    # Whoever can change the row as well still has the trail against them.
    forged = {**run.manifest, "sha256": files.digest_of(path)}
    with tenant_scope(cast.tenant.pk):
        ReportRun.objects.filter(pk=run.pk).update(manifest=forged, sha256=forged["sha256"])
        run.refresh_from_db()
    verdict = services.verify(run)
    assert verdict.found == verdict.manifest and not verdict.holds


def test_the_manifest_and_the_trail_say_what_was_made(cast: Any) -> None:
    some_events(cast.tenant, 3)
    run = made("refused-attempts", cast.tenant, by=cast.owner)
    manifest = run.manifest
    assert (manifest["rows"], manifest["tenant"]["slug"], manifest["made_by"]["email"]) == (
        3,
        "acme",
        "owner@example.org",
    )
    assert manifest["bytes"] == services.file_of(run).stat().st_size
    with tenant_scope(cast.tenant.pk):
        entry = AuditLog.objects.get(action="REPORT_EXPORTED", resource_id=run.pk)
    assert entry.details["sha256"] == manifest["sha256"] and entry.details["parameters"] == manifest["parameters"]


def test_files_go_after_a_while_and_manifests_stay(cast: Any, settings: Any) -> None:
    run = made("access-review", cast.tenant)
    path = services.file_of(run)
    settings.REPORT_FILES_DAYS = -1
    assert services.remove_old_files() == 1
    assert not path.exists()
    again = services.get_run(tenant_id=cast.tenant.pk, run_id=run.pk)
    assert again.manifest["sha256"] == run.sha256 and not again.file_name


# -- durability -------------------------------------------------------------------------------------------------------


def test_a_run_is_made_by_one_worker(cast: Any) -> None:
    run = asked_for("access-review")
    assert making.claim(run.pk) is not None
    assert making.claim(run.pk) is None
    assert making.make(run.pk) is None


def test_a_lost_worker_is_replaced_and_leaves_nothing(cast: Any) -> None:
    run = asked_for("access-review")
    late = making.claim(run.pk)
    with platform_scope():
        ReportRun.objects.filter(pk=run.pk).update(lease_expires_at=clock.now() - timedelta(seconds=1))
    done = making.make(run.pk)
    assert done is not None and done.status == "COMPLETED" and done.fence == 2
    making._carry_out(late, making._Heart(late))
    after = services.get_run(tenant_id=None, run_id=run.pk)
    assert (after.file_name, after.sha256) == (done.file_name, done.sha256)
    assert [p.name for p in files.folder_of(None).iterdir()] == [done.file_name]


def test_a_failure_is_tried_again_and_then_seen(cast: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = asked_for("access-review")

    def breaks(*args: Any, **kwargs: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(formats, "write", breaks)
    seen = []
    for _ in range(making.MAX_ATTEMPTS):
        seen.append(making.make(run.pk).status)  # type: ignore[union-attr]
        with platform_scope():
            ReportRun.objects.filter(pk=run.pk).update(run_after=None)
    assert seen == ["RETRY_PENDING"] * (making.MAX_ATTEMPTS - 1) + ["FAILED"]
    monkeypatch.undo()
    services.try_again(run=run)
    assert making.make(run.pk).status == "COMPLETED"  # type: ignore[union-attr]


# -- doors ------------------------------------------------------------------------------------------------------------
