"""Bottles over REST."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router

from core.support_rules import NEVER, READS, in_support_session

router = Router()


@in_support_session(READS)
@router.get("/bottles", summary="Bottles of a tenant")
def list_bottles(request: HttpRequest) -> dict[str, Any]:
    return {"bottles": []}


@in_support_session(NEVER)
@router.delete("/bottles", summary="Throw them all away")
def throw_away(request: HttpRequest) -> dict[str, Any]:
    return {"bottles": []}
