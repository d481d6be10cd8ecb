"""Writes about support sessions: start, end, extend, mode, consent, the customer's policy."""

from impersonation.errors import ImpersonationBlocked

from .changing import extend_session, leave_write, request_write, take_write
from .consent import decide, may_see
from .customers import set_opt_out, set_policy
from .ending import (
    end_after,
    end_all,
    end_invalid,
    end_overdue,
    end_session,
    end_sessions_of,
    is_live,
    may_end,
    why_over,
)
from .origins import RequestOrigin, digest
from .records import SHORTEST_REASON, TABLE
from .starting import blocked_by, start_session

__all__ = [
    "SHORTEST_REASON",
    "TABLE",
    "ImpersonationBlocked",
    "RequestOrigin",
    "blocked_by",
    "decide",
    "digest",
    "end_after",
    "end_all",
    "end_invalid",
    "end_overdue",
    "end_session",
    "end_sessions_of",
    "extend_session",
    "is_live",
    "leave_write",
    "may_end",
    "may_see",
    "request_write",
    "set_opt_out",
    "set_policy",
    "start_session",
    "take_write",
    "why_over",
]
