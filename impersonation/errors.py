"""The failures of support sessions. IMP_001 to IMP_004 are those of the operators' runbook (IMP_004 in `audit`)."""

from __future__ import annotations

from core.errors import Conflict, NotFound, OpsError
from core.support import SupportEnded, SupportReadOnly

__all__ = [
    "AlreadyInSession",
    "ConsentNeeded",
    "ConsentUnusable",
    "FactorTooNew",
    "FreshFactorNeeded",
    "ImpersonationBlocked",
    "LeaveFirst",
    "NeverInSession",
    "NotSupport",
    "SessionNotFound",
    "SessionStands",
    "SupportEnded",
    "SupportReadOnly",
]


class ImpersonationBlocked(OpsError):
    """``details.reason`` names the guardrail. The attempt is recorded as IMPERSONATION_BLOCKED."""

    code = "IMP_001"
    title = "Impersonation blocked"
    message = "Impersonation blocked (target is platform admin)."
    recovery = "This is expected behaviour: nobody may impersonate this person. The attempt is recorded."
    status = 403


class AlreadyInSession(Conflict):
    code = "IMP_002"
    title = "Nested impersonation prevented"
    message = "You already have a support session; you can have one at a time."
    recovery = "End current session first, then start new session."


class SessionNotFound(NotFound):
    """No session that this person could see: another's answers as one that never was."""

    code = "IMP_003"
    title = "There is no such support session"
    message = "There is no such support session: it has ended, or it was never one of yours."
    recovery = "Sign in again and start a new session; GET /platform/impersonate/sessions lists those that were."


class NotSupport(OpsError):
    code = "IMP_012"
    title = "Only for support"
    message = "Only support staff and platform admins start support sessions."
    recovery = "Ask a platform admin for the role."
    status = 403


class FreshFactorNeeded(OpsError):
    code = "IMP_013"
    title = "Confirm it is you"
    message = "This needs a second factor confirmed within the last 5 minutes."
    recovery = "Confirm your second factor and try again; over REST send the code as `mfa_code`."
    status = 403


class FactorTooNew(OpsError):
    code = "IMP_014"
    title = "This second factor is too new"
    message = "A second factor counts for support sessions a day after it was set up, so that its person would notice."
    recovery = "Use one that you set up earlier, or wait until a day has passed; a colleague can start the session now."
    status = 403


class NeverInSession(OpsError):
    code = "IMP_006"
    title = "Not in a support session"
    message = "This is not possible in a support session: it is reserved for the customer's own people."
    recovery = "Ask the customer to do it, or end the session to act as yourself."
    status = 403


class ConsentNeeded(OpsError):
    code = "IMP_008"
    title = "Approval needed"
    message = "This needs somebody else's approval."
    recovery = "They have been asked. Try again once they have approved."
    status = 403


class ConsentUnusable(Conflict):
    code = "IMP_009"
    title = "This request cannot be answered"
    message = "The request has been answered, used, or has expired."
    recovery = "Make a new request."


class LeaveFirst(OpsError):
    code = "IMP_010"
    title = "You are in a support session"
    message = "During a support session only the customer's pages are open."
    recovery = "End the session, then open this page as yourself."
    status = 403


class SessionStands(Conflict):
    code = "IMP_011"
    title = "The session is still live"
    message = "The session has not ended: later writes would not be reverted."
    recovery = "End the session first, then revert it."
