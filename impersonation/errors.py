"""The failures of support sessions; the first two have the runbook's words."""

from __future__ import annotations

from core.errors import Conflict, OpsError
from core.support import SupportEnded, SupportReadOnly

__all__ = [
    "AlreadyInSession",
    "ConsentNeeded",
    "ConsentUnusable",
    "FreshFactorNeeded",
    "ImpersonationBlocked",
    "LeaveFirst",
    "NeverInSession",
    "NotSupport",
    "SessionStands",
    "SupportEnded",
    "SupportReadOnly",
]


class ImpersonationBlocked(OpsError):
    """``reason`` names the guardrail; the try is on record as IMPERSONATION_BLOCKED."""

    code = "IMP_001"
    title = "Impersonation blocked"
    message = "Impersonation blocked (target is platform admin)."
    recovery = "This is expected behaviour: nobody takes this place. The try is on record."
    status = 403


class AlreadyInSession(Conflict):
    code = "IMP_002"
    title = "Nested impersonation prevented"
    message = "You have a support session already; there is one at a time."
    recovery = "End current session first, then start new session."


class NotSupport(OpsError):
    code = "IMP_003"
    title = "Only support does this"
    message = "Only support staff and platform admins start support sessions."
    recovery = "Ask a platform admin for the role."
    status = 403


class FreshFactorNeeded(OpsError):
    code = "IMP_004"
    title = "Confirm that it is you"
    message = "A second factor no older than 5 minutes is needed for this."
    recovery = "Confirm with your second factor, then try again; over REST send the code as `mfa_code`."
    status = 403


class NeverInSession(OpsError):
    code = "IMP_006"
    title = "Never in a support session"
    message = "This is never done in a support session: it belongs to the customer's own people."
    recovery = "Ask the customer to do it, or end the session to act as yourself."
    status = 403


class ConsentNeeded(OpsError):
    code = "IMP_008"
    title = "Somebody must agree first"
    message = "This needs the agreement of somebody else."
    recovery = "The request is with them; try again once they have agreed."
    status = 403


class ConsentUnusable(Conflict):
    code = "IMP_009"
    title = "This request cannot be answered so"
    message = "The request was answered already, was used, or has expired."
    recovery = "Ask for a new one."


class LeaveFirst(OpsError):
    code = "IMP_010"
    title = "You are in a support session"
    message = "During a support session only the customer's own pages are open."
    recovery = "End the session to come back here as yourself."
    status = 403


class SessionStands(Conflict):
    code = "IMP_011"
    title = "The session still stands"
    message = "The session has not ended: what it writes meanwhile would not be undone."
    recovery = "End the session first, then undo what it did."
