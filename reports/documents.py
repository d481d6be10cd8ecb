"""What is stored of a report: the parameters that it was made with, and the manifest that proves its file."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType

from core.documents import Document

MANIFEST_VERSION = 1


class ReportParameters(Document, frozen=True, kw_only=True):
    """What a report was asked for; what was not given is left out. Moments are ISO, ``tenant`` a short name."""

    since: str | UnsetType = UNSET
    until: str | UnsetType = UNSET
    person: str | UnsetType = UNSET
    tenant: str | UnsetType = UNSET


class ManifestTenant(Document, frozen=True, kw_only=True):
    id: str
    slug: str


class ManifestPerson(Document, frozen=True, kw_only=True):
    id: str
    email: str


class TrailSeal(Document, frozen=True, kw_only=True):
    """The newest seal of the trail when the report was made: no entry up to it has been changed since unnoticed."""

    number: int
    chain: str
    sealed_at: str


class Manifest(Document, frozen=True, kw_only=True):
    """Enough to make the report again and to prove that its file is unchanged. Moments are ISO, ``bytes`` a size."""

    version: int = MANIFEST_VERSION
    run: str
    report: str
    title: str
    tenant: ManifestTenant | None
    parameters: ReportParameters
    as_of: str
    format: str
    columns: list[str]
    made_at: str
    made_by: ManifestPerson | None
    schedule: str | None
    rows: int
    bytes: int
    sha256: str
    trail_seal: TrailSeal | None


def parameters_of(stored: dict[str, Any]) -> ReportParameters:
    """The parameters of a run or a schedule, as stored."""
    return ReportParameters.from_json(stored)


def manifest_of(stored: dict[str, Any] | None) -> Manifest | None:
    """The manifest of a run; None where there is none yet. Manifests without a version are of the first."""
    return Manifest.from_json(stored) if stored else None
