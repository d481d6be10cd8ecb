"""Names of credentials for the comparison of two versions of a workflow in one environment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from .references import references


def credential_labels(before: Mapping[str, Any], after: Mapping[str, Any]) -> Callable[[str, str, str], str]:
    """A name for each credential that is equal if and only if the id is: ``(type, name, id) -> label``.

    A node keeps an old name of a renamed credential, and two credentials may bear one name.
    """
    names: dict[tuple[str, str], str] = {}
    for content in (before, after):
        for found in references(content):
            if found.kind in ("credential", "data_table") and found.value:
                names[found.credential_type, found.value] = found.name or names.get(
                    (found.credential_type, found.value), ""
                )
    bearers: dict[tuple[str, str], set[str]] = defaultdict(set)
    for (kind, credential_id), name in names.items():
        bearers[kind, name].add(credential_id)

    def label(kind: str, name: str, credential_id: str) -> str:
        known = names.get((kind, credential_id), name) if credential_id else name
        return (
            f"{known} ({credential_id})" if credential_id and len(bearers[kind, known]) > 1 else known or credential_id
        )

    return label
