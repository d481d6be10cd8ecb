"""What a plan offers to create in the target, and the credentials that it needs there."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from core.documents import Document

from .documents import MissingReference, Offer, Plan

STUB, TABLE, COLUMNS, REPAIR = "create_credential", "create_data_table", "create_columns", "repair"
"""Kinds of offers. All but the last are carried out by ``running.preparation``; a repair is another plan."""


class OfferSource(Document, frozen=True, kw_only=True):
    """The credential or data table of the source that an offer stands in for."""

    id: str
    name: str


class ChosenOffer(Offer, frozen=True, kw_only=True):
    """An offer as a job carries it out: for all the references that it meets."""

    sources: tuple[OfferSource, ...] = ()


class CredentialInTarget(Document, frozen=True, kw_only=True):
    """A credential of the target that a plan points to."""

    id: str
    name: str
    type: str


def complete_offers(missing: Iterable[MissingReference], *, creates_credentials: bool) -> list[MissingReference]:
    """Offer a stub for each credential that the target lacks, where it can create them, and give every offer its id."""
    return [_completed(reference, creates_credentials) for reference in missing]


def _completed(reference: MissingReference, creates_credentials: bool) -> MissingReference:
    offer = reference.offer or None
    if reference.kind == "credential" and reference.reason == "none" and creates_credentials:
        offer = Offer(do=STUB, type=reference.credential_type, name=reference.label)
    if offer is None:
        return reference
    return msgspec.structs.replace(reference, offer=msgspec.structs.replace(offer, id=offer_id(offer)))


def offer_id(offer: Offer) -> str:
    """What an offer is chosen by: equal for offers of the same thing."""
    return ":".join(str(part or "") for part in (offer.do, offer.type, offer.name, offer.table_id))


def offers_of(plan: Plan) -> dict[str, ChosenOffer]:
    """What the plan offers to create in the target, once each, by its id."""
    found: dict[str, ChosenOffer] = {}
    for reference in plan.dangling:
        offer = reference.offer
        if not offer or offer.do not in (STUB, TABLE, COLUMNS):
            continue
        source = OfferSource(id=reference.value, name=reference.label)
        before = found[offer.id].sources if offer.id in found else ()
        found[offer.id] = _chosen(offer, tuple(dict.fromkeys((*before, source))))
    return found


def _chosen(offer: Offer, sources: tuple[OfferSource, ...]) -> ChosenOffer:
    return ChosenOffer(
        do=offer.do,
        id=offer.id,
        type=offer.type,
        name=offer.name,
        table_id=offer.table_id,
        columns=offer.columns,
        sources=sources,
    )


def credentials_in_use(plan: Plan) -> list[CredentialInTarget]:
    """The target's credentials that the plan points to and needs, once each."""
    found = {
        (used.type, used.target_id): CredentialInTarget(id=used.target_id, name=used.target_name or "", type=used.type)
        for item in plan.items
        for used in item.credentials
        if used.target_id and used.in_use
    }
    return list(found.values())
