"""What can go wrong around drift. DRIFT_001 to DRIFT_004 are those of the operators' runbook."""

from __future__ import annotations

from core.errors import Conflict, Invalid, NotConfirmed, OpsError


class DetectionFailed(OpsError):
    """The environment could not be looked at; ``details["cause"]`` is n8n's or Git's failure."""

    code = "DRIFT_001"
    title = "Drift could not be looked for"
    message = "The environment could not be read, so nobody knows whether it has drifted."
    recovery = "Check the environment's credentials and connection, then check again."
    status = 502


class StabilizeFailed(OpsError):
    """Nothing or not everything was put back; ``details["failed"]`` names each incident and its cause."""

    code = "DRIFT_002"
    title = "Stabilizing failed"
    message = "The workflow could not be put back to what is approved."
    recovery = "Look at the cause. If somebody edited it meanwhile, look at the edit and stabilize again with force."
    status = 502


class ReconcileFailed(OpsError):
    """What is seen did not become what is approved; ``details["failed"]`` names each incident and its cause."""

    code = "DRIFT_003"
    title = "Reconciling failed"
    message = "What is in the environment could not be taken as approved."
    recovery = "Check that the Git store can be written; check the environment for drift again, then reconcile again."
    status = 502


class Overdue(OpsError):
    """An incident past its time could not be settled; ``details["cause"]`` is the failure behind it."""

    code = "DRIFT_004"
    title = "Overdue, and it cannot be settled"
    message = "The time for this drift is over, and it could not be settled."
    recovery = "Reconcile it, or switch the enforcement of times off in the drift policy until it is settled."
    status = 409


class WrongState(Conflict):
    code = "DRIFT_005"
    title = "The incident is past that"
    message = "The incident is in a state in which this cannot be done."
    recovery = "Reload the incident and look at what was done meanwhile."


class StillDrifted(Conflict):
    code = "DRIFT_006"
    title = "The drift is still there"
    message = "The workflow still differs from what is approved, so the incident cannot be closed as settled."
    recovery = "Stabilize or reconcile it first, or close it as accepted or as a false alarm."


class SeenMeanwhile(Conflict):
    """``details``: expected and found (hashes), whether it was published or unpublished, and ``moved``: the names of
    details that are no longer as they were looked at."""

    code = "DRIFT_007"
    title = "Edited meanwhile"
    message = "The workflow was edited or switched again after this drift was looked at; nothing was changed."
    recovery = "Look at the new edit, then decide again; with force, stabilizing discards it."


class NothingApproved(Conflict):
    code = "DRIFT_008"
    title = "Nothing to go back to"
    message = "Git holds no approved content of this workflow."
    recovery = "Reconcile the workflow, or restore it from a snapshot."


class SettlingNotConfirmed(NotConfirmed):
    code = "DRIFT_009"
    message = "In production this needs the environment's name, typed exactly."


class NotAMember(Invalid):
    code = "DRIFT_010"
    title = "Nobody to assign it to"
    message = "The person to assign this to is not a member of this tenant."
    recovery = "Give the id or the e-mail address of a member."


class CheckHeldBack(Conflict):
    code = "DRIFT_011"
    title = "The environment is being written to"
    message = "While another job writes to the environment, a check would take its work for drift."
    recovery = "Wait for that job to end; the next check runs by itself."


class MadeByUpgrade(Conflict):
    """``details["workflows"]``: name, and what putting it back would break."""

    code = "DRIFT_012"
    title = "n8n made this change"
    message = "n8n itself made this change when it was upgraded; putting it back may break what relies on it."
    recovery = "Approve the upgrade's changes instead, or say that you know what it breaks (despite_upgrade)."


class NothingOfUpgrade(Conflict):
    code = "DRIFT_013"
    title = "Nothing is left to approve"
    message = "None of the changes that n8n made at this upgrade stands as drift now."
    recovery = "Look at the upgrade's page: each change says how it was settled."


class HashesBehind(Conflict):
    code = "DRIFT_014"
    title = "Hashes are being computed again"
    message = (
        "The console compares workflows in a new way, and the hashes of this environment are not of that kind yet."
    )
    recovery = "Wait a minute: the job that computes them runs by itself. Then decide again."


class DecidedBefore(Conflict):
    code = "DRIFT_016"
    title = "Decided under another way of comparing"
    message = (
        "The console was upgraded after this was decided, and compares workflows in another way now; nothing more was"
        " changed."
    )
    recovery = "Check the environment for drift, look at the incident as it is described now, and decide again."


class MoreHasDrifted(Conflict):
    code = "DRIFT_015"
    title = "More of this workflow has drifted"
    message = "What runs of this workflow has drifted as well, and was not chosen."
    recovery = "Choose the incident about what runs together with this one, or settle it first."


class CalledByOthers(Conflict):
    """``details["callers"]``: names of what runs and calls it."""

    code = "DRIFT_017"
    title = "Others call it"
    message = "Something that runs calls this workflow, which n8n would not run as it is approved; nothing was changed."
    recovery = "Change or unpublish its callers first, or approve what is there; with force it is unpublished anyway."
