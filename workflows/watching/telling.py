"""Notifies people once of starters that do not start, and records whether that succeeded.

Before a mail goes out, SENDING is committed; afterwards TOLD. What is still SENDING long after may have gone out or
not: it becomes UNKNOWN and is not sent twice. Nothing here can delay or fail a promotion.
"""

from __future__ import annotations

import contextlib
import logging
import smtplib
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import chain

from django.conf import settings
from django.core.mail import get_connection
from django.db.models import Case, F, Q, When

from audit.mail import NOT_SENT, cause_of
from core import clock
from core.notices import notify
from operations.models import Operation
from operations.presenters import job_url
from tenants.mail import TenantMessage
from tenants.models import Membership, TenantRole, User
from tenants.scope import assert_no_scope, tenant_scope
from workflows.models import Environment, EnvironmentUserObjectPermission, StarterWatch, Telling
from workflows.permissions import OPERATE_ENVIRONMENT

from .notices import News, NotTold, PeopleOfJob, PerhapsTold

logger = logging.getLogger(__name__)

TOLD_AT_ONCE = 100
MOST_PEOPLE = 50
TRIES = 5
RETRY_DELAYS = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60))
#: Longer than the timeout of any mail server.
SENDING_LASTS = timedelta(minutes=10)


def tell(environment: Environment) -> int:
    """Send the notifications that wait in an environment; how many went out. Call outside any scope."""
    assert_no_scope("Notifying people")
    sent = 0
    for news in _claim(environment):
        try:
            _note(news, Telling.TOLD, mail(news))
            sent += 1
        except NotTold as error:
            logger.warning("the notification was not sent: %s", error)
            _note(news, Telling.WAITING if error.again and news.attempt < TRIES else Telling.FAILED, str(error))
        except Exception as error:
            logger.exception("whether the notification was sent is not known")
            why = str(error) if isinstance(error, PerhapsTold) else f"{type(error).__name__}: it may have left or not."
            _note(news, Telling.UNKNOWN, why)
    return sent


def _claim(environment: Environment) -> list[News]:
    """What waits, by job; committed as SENDING. What a lost worker was sending becomes UNKNOWN."""
    now = clock.now()
    with tenant_scope(environment.tenant_id):
        rows = StarterWatch.objects.filter(environment_id=environment.pk)
        rows.filter(telling=Telling.SENDING, tell_at__lt=now - SENDING_LASTS).update(
            telling=Telling.UNKNOWN, told_note="The worker that sent the mail is gone. It may have left or not."
        )
        waiting = rows.filter(telling=Telling.WAITING, tell_at__lte=now).order_by("tell_at", "pk")
        found = list(waiting.select_for_update(skip_locked=True)[:TOLD_AT_ONCE])
        rows.filter(pk__in=[watch.pk for watch in found]).update(
            telling=Telling.SENDING, tell_at=now, tell_attempt=F("tell_attempt") + 1
        )
    by_job: dict[uuid.UUID, list[StarterWatch]] = defaultdict(list)
    for watch in sorted(found, key=lambda watch: (watch.workflow_name, watch.node)):
        by_job[watch.operation_id].append(watch)
    return [
        News(environment, operation_id, tuple(watches), max(watch.tell_attempt for watch in watches) + 1)
        for operation_id, watches in by_job.items()
    ]


def _note(news: News, became: Telling, note: str) -> None:
    delay = RETRY_DELAYS[min(news.attempt, len(RETRY_DELAYS)) - 1] if became == Telling.WAITING else timedelta()
    with tenant_scope(news.environment.tenant_id):
        StarterWatch.objects.filter(pk__in=[w.pk for w in news.watches], telling=Telling.SENDING).update(
            telling=became, told_note=note[:1000], tell_at=clock.now() + delay
        )


# -- by mail ----------------------------------------------------------------------------------------------------------


def mail(news: News) -> str:
    """One mail to everybody concerned: who asked and approved, the tenant's owners, who operates the environment."""
    environment = news.environment
    with tenant_scope(environment.tenant_id):
        operation = Operation.objects.select_related("tenant").get(pk=news.operation_id)
        to = recipients(environment, operation)
    return send(
        to,
        subject=_subject(news),
        body=_body(news, operation),
        tenant_id=environment.tenant_id,
        message_id=f"starters-{news.watches[0].pk}",
    )


def send(to: Sequence[str], *, subject: str, body: str, tenant_id: uuid.UUID, message_id: str) -> str:
    """Send one mail to all of them; a sentence about the outcome. ``message_id`` is the same at every try, so that a
    mailbox recognises a repetition.

    Raises ``NotTold`` or ``PerhapsTold``.
    """
    if not to:
        raise NotTold("Nobody in the tenant is to be notified.", again=False)
    headers = {"Message-ID": f"<{message_id}@opsconsole>"}
    message = TenantMessage(subject=subject, body=body, to=to, tenant_id=tenant_id, headers=headers)
    message.connection = connection = get_connection()
    try:
        connection.open()
    except (OSError, smtplib.SMTPException) as error:
        raise NotTold(f"The mail server could not be reached: {cause_of(error)}.") from error
    try:
        sent = message.send()
    except NOT_SENT as error:
        raise NotTold(f"The mail server refused: {cause_of(error)}.") from error
    except Exception as error:
        raise PerhapsTold(f"The connection to the mail server broke: {cause_of(error)}. It may have left.") from error
    finally:
        with contextlib.suppress(Exception):
            connection.close()
    if not sent:
        raise NotTold("The mail server took nothing.")
    unsent = "" if settings.SENDS_MAIL else " No mail server is set up, so the mail lies in a file on this machine."
    return f"Told by mail: {', '.join(to)}.{unsent}"


def recipients(environment: Environment, operation: Operation) -> list[str]:
    """Addresses of those who have to know, members of the tenant as they are now. Needs the tenant's scope."""
    answers = notify(PeopleOfJob(operation.pk)).values()
    concerned = {person for person in (*chain.from_iterable(answers), operation.requested_by_id) if person}
    here = EnvironmentUserObjectPermission.objects.filter(
        content_object=environment, permission__codename=OPERATE_ENVIRONMENT
    )
    members = Membership.objects.filter(
        Q(role__in=(TenantRole.OWNER, TenantRole.OPERATOR))
        | Q(user_id__in=concerned)
        | Q(user_id__in=here.values("user_id"))
    )
    people = User.objects.filter(pk__in=members.values("user_id"), is_active=True, is_service=False)
    nearest = Case(When(pk__in=concerned, then=0), default=1)
    return list(people.order_by(nearest, "email").values_list("email", flat=True)[:MOST_PEOPLE])


def _subject(news: News) -> str:
    first, more = news.watches[0], len(news.watches) - 1
    name = first.workflow_name or first.workflow_key
    others = f" and {more} more" if more else ""
    word = "does" if not more else "do"
    return f"[OpsConsole] {name}{others} {word} not start in {news.environment.name}".replace("\n", " ")


def _body(news: News, operation: Operation) -> str:
    return "\n".join([*_lines(news, operation), ""])


def _lines(news: News, operation: Operation) -> Iterable[str]:
    yield f"{operation.title} published workflows that do not start by themselves:"
    for watch in news.watches:
        yield ""
        yield f"{watch.workflow_name or watch.workflow_key}: {watch.get_kind_display()} “{watch.node}”"
        yield watch.note
        yield in_n8n(news.environment, watch)
    yield ""
    yield "Open the workflow in n8n and look at its trigger, or roll the change back:"
    yield job_address(operation)


def in_n8n(environment: Environment, watch: StarterWatch) -> str:
    """Where n8n's editor shows the workflow."""
    return environment.editor_url(watch.env_workflow_id)


def job_address(operation: Operation) -> str:
    """The job's page; whole where OPSCONSOLE_ORIGINS says where the console stands."""
    origin = next(iter(settings.CSRF_TRUSTED_ORIGINS), "").rstrip("/")
    return origin + job_url(operation)
