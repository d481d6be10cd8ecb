"""What can go wrong with a promotion; the codes are those of the operator's runbook."""

from __future__ import annotations

from core.errors import Conflict, Forbidden, Invalid, NotConfirmed, OpsError


class PreSnapshotFailed(OpsError):
    code = "PROMO_001"
    title = "No snapshot, no promotion"
    message = "The snapshot before the promotion could not be made or read back, so nothing was written."
    recovery = "Check the Git store and the target's connection, take a manual snapshot, then run the promotion again."
    status = 502


class WriteFailed(OpsError):
    code = "PROMO_002"
    title = "A workflow could not be written"
    message = "A write to the target failed; the target was rolled back."
    recovery = "Look at the proof of the rollback, remove the cause, then plan the promotion again."
    status = 502


class DriftBlocks(Conflict):
    code = "PROMO_003"
    title = "Blocked by drift"
    message = (
        "The target has drifted from what was approved, and the tenant's policy stops promotions until it is settled."
    )
    recovery = "Reconcile or stabilize the named incidents, then run the promotion again."


class TargetLocked(Conflict):
    code = "PROMO_004"
    title = "The target is busy"
    message = "Another job is writing to the target environment."
    recovery = "Wait for it to finish, or cancel it on its page."


class RollbackFailed(OpsError):
    code = "PROMO_005"
    title = "The rollback is incomplete"
    message = "Some workflows of the target are not as they were before the promotion."
    recovery = "Look at the named workflows, then restore them from the snapshot taken before the promotion."
    status = 502


class Dangling(Invalid):
    code = "PROMO_006"
    title = "Missing credentials and sub-workflows"
    message = "Some workflows refer to credentials or workflows that the target does not have."
    recovery = "Map the credentials, add the missing sub-workflows to the promotion, or link them, then plan again."
    status = 409


class PlanStale(Conflict):
    code = "PROMO_007"
    title = "The plan is out of date"
    message = "The source or the target has changed since the plan was made."
    recovery = "Plan again, look at what changed, and have it approved again where approval is needed."


class NothingToPromote(Invalid):
    code = "PROMO_008"
    title = "Nothing to promote"
    message = "The chosen workflows are the same in both environments, or none were chosen."
    recovery = "Choose workflows that differ."


class ApprovalNeeded(Conflict):
    code = "PROMO_009"
    title = "Not approved"
    message = "This promotion needs the approval of somebody other than the person who asked for it."
    recovery = "Ask an approver of the target environment to look at the plan."


class SelfApproval(Forbidden):
    code = "PROMO_010"
    title = "Not your own request"
    message = "A promotion cannot be approved by the person who asked for it, whatever account they use."
    recovery = "Ask another approver."


class MachineApproval(Forbidden):
    code = "PROMO_020"
    title = "A service account does not approve"
    message = "A promotion is approved by a person; this service account is not allowed to."
    recovery = "Ask a person who may approve; or have two owners allow this account under Approval rules."


class PathRefused(Forbidden):
    code = "PROMO_021"
    title = "Not the way of this tenant"
    message = "Promotions follow the order of the environments, one step at a time."
    recovery = "Promote to the next environment first; or have two owners allow jumps under Approval rules."


class WrongState(Conflict):
    code = "PROMO_011"
    title = "That is not possible now"
    message = "The promotion is not in a state in which that can be done."
    recovery = "Reload the page and look at its state."


class NeverCaptured(Conflict):
    code = "PROMO_012"
    title = "Not captured yet"
    message = "An environment has never been captured, so there is nothing to compare."
    recovery = "Capture both environments first."


class RollbackRefused(Conflict):
    code = "PROMO_013"
    title = "Changed since the promotion"
    message = (
        "Some of the promoted workflows were changed or called by others since; rolling back would undo or break that."
    )
    recovery = (
        "Look at them; roll back later promotions first, roll back with force if that may be lost, or restore single"
        " workflows from the snapshot."
    )


class PromotionNotConfirmed(NotConfirmed):
    code = "PROMO_014"
    message = "The name typed is not the name of the target environment."


class ScopesLacking(Conflict):
    code = "PROMO_015"
    title = "The API key may not do it"
    message = "The API key of the target lacks what the plan needs."
    recovery = "Create a key with the named scopes in n8n of the target, enter it in the environment, then plan again."


class SecretsLacking(Conflict):
    code = "PROMO_016"
    title = "A credential has no secret yet"
    message = "A credential of the target was made as a stub, and nobody has entered its secret."
    recovery = "Open the credential in n8n, enter the secret, then test it or say that it is entered."


class TargetHeld(Conflict):
    code = "PROMO_019"
    title = "The target is held"
    message = "A promotion may have left a mix of old and new workflows in the target."
    recovery = "Open that promotion: roll it back, or check the target, settle it by hand and release it."


class NotOffered(Conflict):
    code = "PROMO_017"
    title = "Nothing to prepare"
    message = "The plan offers nothing of that kind."
    recovery = "Plan again, and choose among what is offered beside each missing reference."


class EndedByHand(Conflict):
    """An emergency stop, or a job that was given up; nothing was written."""

    code = "PROMO_018"
    title = "Ended by hand"
    message = "The job was ended by hand before anything was written; the target is as it was."
    recovery = "Find out who ended it and why; then run the promotion again."
