"""A person's own pages: where they are signed in, and their tokens wherever those are bound to."""

from __future__ import annotations

import uuid
from typing import Any

from allauth.account.models import EmailAddress
from allauth.account.views import EmailView
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from core import clock
from core.errors import NotFound
from core.support_rules import LEAVES, in_support_session

from . import people, selectors
from .models import ApiToken, User
from .requests import person_of
from .scope import platform_scope
from .sessions import stored_key


@in_support_session(LEAVES)
@require_safe
@login_required
def user_sessions(request: HttpRequest) -> HttpResponse:
    """Sign-ins of the person who looks. Keys never reach the page."""
    rows: list[Any] = list(selectors.sign_ins(person_of(request)))
    here = stored_key(request.session.session_key)
    for row in rows:
        row.digest, row.is_current = people.session_digest(row.session_key), row.session_key == here
    context = {"sign_ins": rows, "tokens": selectors.personal_tokens(person_of(request)), "now": clock.now()}
    return render(request, "tenants/sessions.html", context)


@in_support_session(LEAVES)
@require_POST
@login_required
def user_session_end(request: HttpRequest, digest: str) -> HttpResponse:
    people.end_sign_in(user=person_of(request), digest=digest, by=person_of(request))
    messages.success(request, "That sign-in has ended.")
    return redirect("user_sessions")


@in_support_session(LEAVES)
@require_POST
@login_required
def user_sessions_end_others(request: HttpRequest) -> HttpResponse:
    person, here = person_of(request), stored_key(request.session.session_key)
    ended = people.end_sign_ins(user=person, by=person, keep=here)
    messages.success(request, f"Signed out everywhere else: {ended} sign-in{'' if ended == 1 else 's'} ended.")
    return redirect("user_sessions")


@in_support_session(LEAVES)
@require_POST
@login_required
def own_token_revoke(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    with platform_scope():
        changed = ApiToken.objects.filter(pk=pk, user=person_of(request), revoked_at=None).update(
            revoked_at=clock.now()
        )
    if not changed:
        raise NotFound
    messages.success(request, "The token opens nothing any more.")
    return redirect("user_sessions")


class OwnEmail(EmailView):
    """The person's address; another takes its place once it was confirmed from its own mailbox."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        _vouch_for(person_of(request))
        answer: HttpResponseBase = super().dispatch(request, *args, **kwargs)
        return answer


def _vouch_for(user: User) -> None:
    """Tell allauth that the present address is confirmed: whoever invited the person vouched for it.

    ``users.email`` decides whose an address is; what allauth has kept of an earlier state of things gives way.
    """
    email = user.email.lower()
    earlier = Q(user=user, primary=True) & ~Q(email=email) | Q(email=email, verified=True) & ~Q(user=user)
    EmailAddress.objects.filter(earlier).delete()
    EmailAddress.objects.update_or_create(user=user, email=email, defaults={"verified": True, "primary": True})


own_email = in_support_session(LEAVES)(login_required(OwnEmail.as_view()))
