"""Tells people once that a promotion left its target half-way, and records whether the mail went out.

Before the mail goes out ``sending`` is committed, afterwards ``told``. What is found ``sending`` long after may have
gone out or not: it becomes ``unknown`` and is not sent twice.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.urls import reverse

from core import clock
from operations.models import Operation
from promotions.models import Promotion
from tenants.scope import platform_scope, tenant_scope
from workflows.watching.notices import NotTold, PerhapsTold
from workflows.watching.telling import RETRY_DELAYS, SENDING_LASTS, TRIES, recipients, send

from .documents import Notice, read_result

logger = logging.getLogger(__name__)

NOTIFIED_AT_ONCE = 20


def notify_all() -> int:
    """Notify people of every promotion that needs them and of which they do not know; how many. For the beat."""
    with platform_scope():
        rows = Promotion.objects.filter(attention_since__isnull=False).order_by("attention_since")
        found = rows.values_list("pk", "tenant_id", "execution_result__told")
        waiting = [(pk, tenant_id) for pk, tenant_id, notice in found if _is_due(_notice(notice))]
    return sum(notify(tenant_id, promotion_id) for promotion_id, tenant_id in waiting[:NOTIFIED_AT_ONCE])


def _notice(stored_notice: dict[str, Any] | None) -> Notice | None:
    return Notice.from_json(stored_notice) if stored_notice else None


def _is_due(notice: Notice | None) -> bool:
    """Nobody has been notified, or another try is due, or a try was never ended."""
    if notice is None:
        return True
    at, now = datetime.fromisoformat(notice.at), clock.now()
    return (notice.state == "waiting" and at <= now) or (notice.state == "sending" and at < now - SENDING_LASTS)


def notify(tenant_id: uuid.UUID, promotion_id: uuid.UUID) -> bool:
    """Notify people of one promotion, if that is due; whether they were. Call outside any scope."""
    claimed = _claim(tenant_id, promotion_id)
    if claimed is None:
        return False
    promotion, attempt = claimed
    with tenant_scope(tenant_id):
        operation = Operation.objects.select_related("tenant").get(pk=_job_of(promotion))
        to = recipients(promotion.target_environment, operation)
    try:
        message_id = f"promotion-{promotion.pk}-{promotion.attention_since:%Y%m%d%H%M%S}"
        note = send(to, subject=_subject(promotion), body=_body(promotion), tenant_id=tenant_id, message_id=message_id)
    except NotTold as error:
        logger.warning("nobody could be told of a target left half-way: %s", error)
        again = error.again and attempt < TRIES
        delay = RETRY_DELAYS[min(attempt, len(RETRY_DELAYS)) - 1] if again else timedelta()
        _note(promotion, "waiting" if again else "failed", attempt, str(error), delay)
        return False
    except Exception as error:
        logger.exception("whether people were told of a target left half-way is not known")
        why = str(error) if isinstance(error, PerhapsTold) else f"{type(error).__name__}: it may have left or not."
        _note(promotion, "unknown", attempt, why)
        return False
    _note(promotion, "told", attempt, note)
    return True


def _claim(tenant_id: uuid.UUID, promotion_id: uuid.UUID) -> tuple[Promotion, int] | None:
    """The promotion and which try this is, committed as being sent; None where there is nothing to tell."""
    with tenant_scope(tenant_id):
        rows = Promotion.objects.select_for_update(skip_locked=True, of=("self",)).select_related(
            "tenant", "target_environment"
        )
        found = rows.filter(pk=promotion_id, attention_since__isnull=False).first()
        notice = read_result(found.execution_result).told or None if found is not None else None
        if found is None or not _is_due(notice):
            return None
        attempt = (notice.attempt if notice else 0) + 1
        if notice and notice.state == "sending":
            _write(found, "unknown", attempt - 1, "The worker that told people is gone. They may know or not.")
            return None
        _write(found, "sending", attempt, "")
        return found, attempt


def _note(promotion: Promotion, state: str, attempt: int, note: str, delay: timedelta = timedelta()) -> None:
    with tenant_scope(promotion.tenant_id):
        row = Promotion.objects.select_for_update().filter(pk=promotion.pk, attention_since__isnull=False).first()
        notice = read_result(row.execution_result).told if row is not None else None
        if row is not None and notice and notice.state == "sending":
            _write(row, state, attempt, note, delay)


def _write(row: Promotion, state: str, attempt: int, note: str, delay: timedelta = timedelta()) -> None:
    notice = Notice(state=state, attempt=attempt, note=note[:1000], at=(clock.now() + delay).isoformat())
    row.execution_result = (row.execution_result or {}) | {"told": notice.to_json()}
    row.save(update_fields=["execution_result", "updated_at"])


def _job_of(promotion: Promotion) -> uuid.UUID:
    """The job that left the target so: the rollback, where that came later."""
    rollback = read_result(promotion.execution_result).manual_rollback
    return uuid.UUID(str((rollback.operation_id if rollback else "") or promotion.operation_id))


def _subject(promotion: Promotion) -> str:
    name = promotion.target_environment.name
    return f"[OpsConsole] {name} is half-way: {promotion.name}".replace("\n", " ")


def _body(promotion: Promotion) -> str:
    return "\n".join([*_lines(promotion), ""])


def _lines(promotion: Promotion) -> Iterable[str]:
    target, error = promotion.target_environment, read_result(promotion.execution_result).error
    yield f"“{promotion.name}” may have left a mix of old and new workflows in {target.name}."
    if error and error.message:
        yield error.message
    yield ""
    yield f"No other promotion writes into {target.name} until this is settled. Once n8n answers again, roll the"
    yield "promotion back; or check the workflows in n8n, settle them by hand, and release the target:"
    yield page_address(promotion)


def page_address(promotion: Promotion) -> str:
    """The promotion's page; whole where OPSCONSOLE_ORIGINS says where the console stands."""
    origin = next(iter(settings.CSRF_TRUSTED_ORIGINS), "").rstrip("/")
    return origin + reverse("promotion", kwargs={"tenant_slug": promotion.tenant.slug, "pk": promotion.pk})
