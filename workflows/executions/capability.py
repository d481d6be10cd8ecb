"""What an n8n offers around executions, read off its own description."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workflows.n8n.spec import Capabilities

_RETRY = re.compile(r"/executions/\{\w+\}/retry")


def can_retry(spec: Capabilities) -> bool:
    """Whether the instance takes ``POST /executions/{id}/retry``, however its description spells the path."""
    return any(_RETRY.fullmatch(path) and "post" in methods for path, methods in spec.endpoints.items())
