"""What the buttons on a promotion's page do: each parses its form, calls one service and answers a sentence."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest

from tenants.pages import Visit
from tenants.scope import tenant_scope
from workflows.confirmation import require_typed
from workflows.permissions import require_approve, require_operate
from workflows.stubs import secret_entered

from . import services
from .errors import PromotionNotConfirmed
from .models import Promotion, PromotionStatus
from .permissions import require_prepare

Action = Callable[[HttpRequest, Visit, Promotion], str]


def _submit(_request: HttpRequest, visit: Visit, promotion: Promotion) -> str:
    require_operate(visit, promotion.target_environment)
    done = services.submit(tenant_id=visit.tenant.pk, promotion_id=promotion.pk, by=visit.user)
    return "Waits for approval." if done.status == PromotionStatus.PENDING_APPROVAL else "Ready to run."


def _replan(_request: HttpRequest, visit: Visit, promotion: Promotion) -> str:
    require_operate(visit, promotion.target_environment)
    services.replan(tenant_id=visit.tenant.pk, promotion_id=promotion.pk, by=visit.user)
    return "Planned again from the latest captures."


def _repair(_request: HttpRequest, visit: Visit, promotion: Promotion) -> str:
    require_operate(visit, promotion.target_environment)
    services.repair(tenant_id=visit.tenant.pk, promotion_id=promotion.pk, by=visit.user)
    return "Planned again without connections that lead nowhere."


def _prepare(request: HttpRequest, visit: Visit, promotion: Promotion) -> str:
    rows = request.POST.get("rows") == "1"
    require_prepare(visit, promotion, rows=rows)
    services.prepare(
        tenant_id=visit.tenant.pk,
        promotion_id=promotion.pk,
        by=visit.user,
        chosen=request.POST.getlist("offer") or None,
        rows=rows,
    )
    name = promotion.target_environment.name
    if promotion.status == PromotionStatus.DRAFT:
        return f"Preparing {name}: watch the job below. Once it has ended, the plan is made again by itself."
    return (
        f"Preparing {name}: watch the job below. Once it has ended, press “Plan again”, which takes another approval."
    )


def _test_credentials(_request: HttpRequest, visit: Visit, promotion: Promotion) -> str:
    require_operate(visit, promotion.target_environment)
    services.start_credential_tests(tenant_id=visit.tenant.pk, promotion_id=promotion.pk, by=visit.user)
    return "n8n tests the credentials; the gate shows the results."


def _secret_entered(request: HttpRequest, visit: Visit, promotion: Promotion) -> str:
    require_operate(visit, promotion.target_environment)
    with tenant_scope(visit.tenant.pk):
        secret_entered(environment=promotion.target_environment, credential_id=request.POST.get("credential", ""))
    return "Recorded: its secret is entered."


def _approve(request: HttpRequest, visit: Visit, promotion: Promotion) -> str:
    require_approve(visit, promotion.target_environment)
    services.approve(
        tenant_id=visit.tenant.pk,
        promotion_id=promotion.pk,
        by=visit.user,
        comment=request.POST.get("comment", ""),
        seen_plan_hash=request.POST.get("plan_hash", ""),
    )
    return "Approved."


def _reject(request: HttpRequest, visit: Visit, promotion: Promotion) -> str:
    require_approve(visit, promotion.target_environment)
    comment = request.POST.get("reason") or request.POST.get("comment", "")
    services.reject(tenant_id=visit.tenant.pk, promotion_id=promotion.pk, by=visit.user, comment=comment)
    return "Rejected."


def _execute(request: HttpRequest, visit: Visit, promotion: Promotion) -> str:
    require_operate(visit, promotion.target_environment)
    services.execute(
        tenant_id=visit.tenant.pk,
        promotion_id=promotion.pk,
        by=visit.user,
        typed=request.POST.get("typed", ""),
    )
    return "Running: watch each step below."


def _cancel(_request: HttpRequest, visit: Visit, promotion: Promotion) -> str:
    require_operate(visit, promotion.target_environment)
    done = services.cancel(tenant_id=visit.tenant.pk, promotion_id=promotion.pk, by=visit.user)
    if done.status == PromotionStatus.RUNNING:
        return "Cancelled: the target is being rolled back."
    return "Cancelled; nothing was written."


def _rollback(request: HttpRequest, visit: Visit, promotion: Promotion) -> str:
    require_operate(visit, promotion.target_environment)
    require_typed([promotion.target_environment], request.POST.get("typed", ""), PromotionNotConfirmed)
    services.rollback(
        tenant_id=visit.tenant.pk,
        promotion_id=promotion.pk,
        by=visit.user,
        force=request.POST.get("force") == "1",
        reason=request.POST.get("reason", ""),
    )
    return "Rolling back."


def _release(request: HttpRequest, visit: Visit, promotion: Promotion) -> str:
    require_operate(visit, promotion.target_environment)
    services.release(
        tenant_id=visit.tenant.pk,
        promotion_id=promotion.pk,
        by=visit.user,
        reason=request.POST.get("reason", ""),
        typed=request.POST.get("typed", ""),
    )
    return f"{promotion.target_environment.name} is released: promotions may write to it again."


ACTIONS: dict[str, Action] = {
    "submit": _submit,
    "replan": _replan,
    "repair": _repair,
    "prepare": _prepare,
    "test_credentials": _test_credentials,
    "secret_entered": _secret_entered,
    "approve": _approve,
    "reject": _reject,
    "execute": _execute,
    "cancel": _cancel,
    "rollback": _rollback,
    "release": _release,
}
