"""Pages as tests read them: how templates are laid out makes no difference."""

from __future__ import annotations

import re


def flat(page: bytes | str) -> str:
    """The HTML on one line, without the space beside tags."""
    text = page.decode() if isinstance(page, bytes) else page
    return re.sub(r"> | <", lambda found: found.group().strip(), " ".join(text.split()))
