"""Names for Git paths, made from names that people give."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Container

KEY_LIMIT = 80
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d|git)", re.ASCII)


def suggest_key(name: str, taken: Container[str] = ()) -> str:
    """Return a key for a workflow called `name`: `[a-z0-9-]`, at most 80 characters, not in `taken`.

    Keys are lower case throughout, so two of them never differ by case alone. A name that loses letters on the
    way (emoji, other scripts) gets a short digest of itself, so that equal keys mean equal names. The same name
    gives the same key for the same `taken`.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    lost = any(ord(c) > 127 and not unicodedata.combining(c) for c in unicodedata.normalize("NFKD", name))
    if not slug or lost or len(slug) > KEY_LIMIT or _RESERVED.fullmatch(slug):
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:6]
        slug = f"{slug[: KEY_LIMIT - 7].strip('-') or 'workflow'}-{digest}" if name else "workflow"
    key, number = slug, 1
    while key in taken:
        number += 1
        tail = f"-{number}"
        key = slug[: KEY_LIMIT - len(tail)].rstrip("-") + tail
    return key
