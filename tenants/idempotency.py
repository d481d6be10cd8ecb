"""``Idempotency-Key`` on every POST of the REST API: the first answer is kept for a day and given again.

A key belongs to the token that sent it. The claim is committed before the request is carried out, so of two requests
at the same moment one runs and the other is told to wait. Failures of ours (5xx) and refusals that a moment later may
be none (401, 429, or that ask for a header) are not kept: the same key may then be tried again. What a job came to is
kept, however it ended. Of what a support session does it is kept that it was done, not the answer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.http import HttpRequest, HttpResponse

from core import clock, support
from core.errors import Conflict, IdempotencyMismatch, Invalid, OpsError
from core.middleware import error_response

from .models import IdempotencyKey
from .scope import platform_scope
from .tokens import TokenRefused, authenticate_slowly

PREFIX = "/api/v1/"
LARGEST_BODY_BYTES = 256 * 1024
KEPT_FOR = timedelta(hours=24)
#: A claim without an answer is given up after this long: no request takes longer, so its process must have died.
ABANDONED_AFTER = timedelta(minutes=5)
NOT_KEPT = frozenset({401, 408, 425, 429})
_KEY = re.compile(r"^[\x21-\x7e]{1,120}$")


class InProgress(Conflict):
    code = "IDEMPOTENCY_IN_PROGRESS"
    title = "The first request is still running"
    message = "A request with this idempotency key is still being carried out."
    recovery = "Wait a moment and send the same request again to get its answer."


class AnswerNotKept(Conflict):
    code = "IDEMPOTENCY_ANSWER_NOT_KEPT"
    title = "Already carried out"
    message = "The request with this key was carried out, but its answer was too large, or not to be kept."
    recovery = "Read the object itself; do not send the request again."


class BadKey(Invalid):
    code = "IDEMPOTENCY_KEY_INVALID"
    title = "That idempotency key cannot be used"
    message = "An idempotency key is 1 to 120 printable ASCII characters without blanks."
    recovery = "Use a UUID."


def request_digest(request: HttpRequest) -> str:
    """What was asked: method, address and body."""
    parts = (str(request.method).encode(), request.get_full_path().encode(), request.body)
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


class IdempotencyMiddleware:
    """Stands around the API's views; requests without the header pass untouched."""

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        key = request.headers.get("Idempotency-Key")
        if key is None or request.method != "POST" or not request.path.startswith(PREFIX):
            return self.get_response(request)
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        try:
            if not _KEY.match(key):
                raise BadKey
            if scheme.lower() != "bearer":
                raise TokenRefused
            token = authenticate_slowly(secret.strip())
            scope_key = hashlib.sha256(f"{token.token_hash}\0{key}".encode()).hexdigest()
            kept = _claim(scope_key, request_digest(request))
        except OpsError as error:
            return _refusal(request, error)
        if kept is not None:
            return kept
        settled = False
        try:
            response = self.get_response(request)
            _settle(scope_key, response, in_session=getattr(request, "support_session", None) is not None)
            settled = True
        finally:
            if not settled:
                _release(scope_key)
        return response


def _refusal(request: HttpRequest, error: OpsError) -> HttpResponse:
    response = error_response(request, error)
    if isinstance(error, InProgress):
        response["Retry-After"] = "1"
    return response


def _claim(scope_key: str, digest: str) -> HttpResponse | None:
    """Take the key for this request (None), or the answer kept for it; raises where it is taken otherwise."""
    now = clock.now()
    with platform_scope():
        stale = Q(expires_at__lte=now) | Q(status=None, claimed_at__lte=now - ABANDONED_AFTER)
        IdempotencyKey.objects.filter(stale, pk=scope_key).delete()
        try:
            with transaction.atomic():
                IdempotencyKey.objects.create(
                    pk=scope_key, request_digest=digest, claimed_at=now, expires_at=now + KEPT_FOR
                )
            return None
        except IntegrityError:
            row = IdempotencyKey.objects.filter(pk=scope_key).first()
    if row is None:  # The first request failed and let go between the two statements.
        raise InProgress
    if row.request_digest != digest:
        raise IdempotencyMismatch
    if row.status is None:
        raise InProgress
    if row.body is None:
        raise AnswerNotKept(details={"status": row.status})
    response = HttpResponse(bytes(row.body), status=row.status, content_type=row.content_type or "application/json")
    response["Idempotent-Replay"] = "true"
    return response


def _is_passing(response: Any, *, in_session: bool) -> bool:
    """Whether the same request may be answered otherwise a moment later."""
    if getattr(response, "tells_an_end", False):
        return False
    if getattr(response, "asks_for_a_header", False):
        return True
    status = response.status_code
    # What a support session may not do it may do a moment later, in write mode.
    return status >= 500 or status in NOT_KEPT or (in_session and status >= 400)


def _settle(scope_key: str, response: Any, *, in_session: bool) -> None:
    if _is_passing(response, in_session=in_session) or getattr(response, "streaming", False):
        _release(scope_key)
        return
    # What a support session was told is the customer's: nobody reads it once the session has ended.
    secret = "no-store" in response.get("Cache-Control", "") or support.current() is not None
    body = None if secret or len(response.content) > LARGEST_BODY_BYTES else response.content
    with support.suspended(), platform_scope():
        IdempotencyKey.objects.filter(pk=scope_key).update(
            status=response.status_code, body=body, content_type=response.get("Content-Type", "")[:120]
        )


def _release(scope_key: str) -> None:
    with support.suspended(), platform_scope():
        IdempotencyKey.objects.filter(pk=scope_key, status=None).delete()


def forget_expired() -> int:
    """Delete answers whose day is over; how many there were."""
    with platform_scope():
        deleted, _ = IdempotencyKey.objects.filter(expires_at__lte=clock.now()).delete()
    return deleted
