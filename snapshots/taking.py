"""Taking a whole snapshot away, contents and all: one declaration for the page and the API.

Whoever may look may take it, on record; never from inside a support session.
"""

from __future__ import annotations

import hashlib
from typing import Any

from core.support_rules import NEVER, Rule, Sent, SupportRules
from tenants.models import Grants
from workflows.content import parse

from . import services
from .models import Snapshot
from .reading import Rescued
from .restore_documents import RestoreIssue

GRANT = Grants.VIEW
PAGE_RULES = NEVER
_OFF = frozenset({"", "0", "false", "f", "off", "no", "n"})


def _unless_whole(sent: Sent) -> Rule:
    return Rule.READ if sent.get("contents", "").lower() in _OFF else PAGE_RULES.rule("get", sent)


#: Of the address of the API that tells of a snapshot, and gives it away with ``contents``.
API_RULES = SupportRules(get=_unless_whole)


def whole_entries(snapshot: Snapshot) -> tuple[list[dict[str, Any]], list[RestoreIssue]]:
    """Every entry with its content, on record before anybody is told; and warnings. Outside any scope."""
    digest, size, found, rescued = hashlib.sha256(), 0, [], Rescued()
    for entry, data in services.load_bytes(snapshot, rescued=rescued):
        digest.update(data)
        size += len(data)
        found.append({**entry.to_json(), "content": parse(data)})
    services.record_download(snapshot, size=size, sha256=digest.hexdigest())
    return found, rescued.warnings
