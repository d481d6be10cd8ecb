"""Mail with intent and outcome: whoever sends one, both are in the trail (resource ``mails``), and its text is not."""

from __future__ import annotations

import contextlib
import os
import smtplib
import socket
import uuid
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.backends.filebased import EmailBackend as FileBackend

from core import context, support
from tenants.scope import assert_no_scope, platform_scope

from .services import record_event

#: The server said no, or was never reached: nothing has left. Whatever else goes wrong leaves that open.
NOT_SENT = (ConnectionRefusedError, socket.gaierror, smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused)


def cause_of(error: Exception) -> str:
    """What the server or the system said, without what was sent to it."""
    if isinstance(error, smtplib.SMTPResponseException):
        text = error.smtp_error.decode(errors="replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
        return f"{error.smtp_code} {text}"[:200]
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, smtplib.SMTPException):
        return (str(error) or type(error).__name__)[:200]
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__


class PrivateFiles(FileBackend):
    """Mail as files that only the console's user reads: links in them open accounts."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        os.chmod(self.file_path, 0o700)  # noqa: PTH101 -- Django keeps it as a text


class TrailedBackend(BaseEmailBackend):
    """Sends through ``settings.EMAIL_DELIVERY``. Call outside any scope, as for everything that leaves the console."""

    def __init__(self, fail_silently: bool = False, **options: Any) -> None:
        super().__init__(fail_silently=fail_silently)
        self._delivery = get_connection(settings.EMAIL_DELIVERY, **options)

    def open(self) -> bool | None:
        return self._delivery.open()

    def close(self) -> None:
        self._delivery.close()

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Send each; how many went. The first failure is raised, unless ``fail_silently``."""
        assert_no_scope("Sending mail")
        with contextlib.ExitStack() as stack:
            if self.fail_silently:
                stack.enter_context(contextlib.suppress(Exception))
            return sum(self._send(message) for message in email_messages)
        return 0

    def _send(self, message: EmailMessage) -> int:
        mail_id = uuid.uuid4()
        _record("EFFECT_INTENDED", mail_id, message)
        try:
            sent = self._delivery.send_messages([message]) or 0
        except NOT_SENT as error:
            _record("EFFECT_FAILED", mail_id, message, code=type(error).__name__)
            raise
        except Exception as error:
            _record("EFFECT_UNKNOWN", mail_id, message, code=type(error).__name__)
            raise
        _record("EFFECT_DONE" if sent else "EFFECT_SKIPPED", mail_id, message)
        return sent


def _record(action: str, mail_id: uuid.UUID, message: EmailMessage, **facts: str) -> None:
    acting = context.current()
    with support.suspended(), context.acting(source=acting.source or "system"), platform_scope():
        record_event(
            action=action,
            resource_type="mails",
            resource_id=mail_id,
            tenant_id=getattr(message, "tenant_id", None),
            name=str(message.subject),
            details={"system": "mail", "to": message.recipients(), **facts},
        )
