"""Hides what looks like a secret in sentences that people read. The stored content is not touched."""

from __future__ import annotations

import re

HIDDEN = "••••••"
LONGEST = 4000
"""Characters of a text that are searched and returned."""

_NAMES = re.compile(
    r"secret|token|passw(or)?d|pwd|api[-_ ]?key|access[-_ ]?key|private[-_ ]?key|auth(orization)?$|authorization"
    r"|bearer|cookie|signature|credential(?!s?$)|x-.*-key",
    re.IGNORECASE,
)
_SHAPES = re.compile(
    r"(?:sk|pk|rk)[-_](?:live|test|proj|ant)?[-_]?[A-Za-z0-9_-]{16,}"
    r"|xox[abeprs]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}|gh[opsur]_[A-Za-z0-9]{20,}|github_pat_\w{20,}"
    r"|glpat-[\w-]{16,}|AKIA[0-9A-Z]{16}|AIza[\w-]{30,}|ya29\.[\w-]{20,}|SG\.[\w-]{16,}\.[\w-]{16,}"
    r"|\b\d{8,10}:[A-Za-z0-9_-]{35}\b|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"
    r"|hooks\.slack\.com/services/[\w/]+|\b[0-9a-f]{40,}\b"
)
# Bounded repetitions throughout: the texts are other people's, and may be crafted to be slow to search.
_PARTS = re.compile(
    r"(?i)(\b(?:bearer|basic|token)\s{1,4}|://[^/\s:@]{0,200}:"
    r"|[?&][\w-]{0,40}?(?:key|token|secret|sig|signature|password|auth)[\w-]{0,20}="
    r"|(?:secret|token|password|passwd|api[-_]?key)[\w-]{0,20}[\"']?\s{0,4}[:=]\s{0,4}[\"'])"
    r"(?!\{\{|[=$])([^\s\"'&@]{3,})"
)
_WORDS_OF_PARTS = ("://", "key", "token", "secret", "passw", "auth", "sig", "bearer", "basic")
_CUT_TOKEN = re.compile(r"eyJ[\w-]{8,}(?:\.[\w-]*)?$")
"""The beginning of a token whose end was cut off, so that its shape is not seen."""
_EXPRESSION = re.compile(r"\{\{[\s\S]*?\}\}")


def is_secret_name(name: str) -> bool:
    """Whether a value with this name counts as a secret."""
    return bool(_NAMES.search(name))


def mask(text: str, *, secret: bool = False, longest: int = LONGEST) -> str:
    """Return `text` with what looks like a secret replaced; all of it if its name says so (`secret`).

    Of more than ``longest`` characters the rest is left out.

    Expressions (`={{ $json.token }}`) refer to a value and hold no secret themselves; they stay.
    """
    if len(text) > longest:
        text = _CUT_TOKEN.sub(HIDDEN, text[:longest])
    if secret and text and not (text.startswith("=") and not _EXPRESSION.sub("", text[1:]).strip(" \n")):
        return HIDDEN
    text = _SHAPES.sub(HIDDEN, text)
    return _PARTS.sub(lambda m: m[1] + HIDDEN, text) if _may_have_parts(text) else text


def _may_have_parts(text: str) -> bool:
    """Whether one of the words stands there without which ``_PARTS`` finds nothing; far quicker than looking for it."""
    folded = text.casefold()
    return any(word in folded for word in _WORDS_OF_PARTS)
