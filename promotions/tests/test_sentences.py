"""A promotion in one sentence, in each of its states."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from core import clock
from promotions.models import Promotion
from promotions.reading.sentences import of_promotion
from promotions.running.documents import read_result
from promotions.tests.test_gates import plan
from workflows.models import Environment

WAS_TO = "Was to change “Billing” and add “Helper” and “Intake” in Production, as in Staging."
DONE = "Changed “Billing” and added “Helper” and “Intake” in Production, as in Staging."


@pytest.mark.parametrize(
    ("status", "result", "said"),
    [
        ("DRAFT", {}, WAS_TO.replace("Was to", "Would")),
        ("APPROVED", {}, WAS_TO.replace("Was to", "Would")),
        ("RUNNING", {}, WAS_TO.replace("Was to", "Is to")),
        ("COMPLETED", {}, DONE),
        ("ROLLED_BACK", {}, f"{DONE} It was rolled back: Production is as before."),
        ("REJECTED", {}, f"{WAS_TO} It was rejected; nothing was written."),
        ("FAILED", {"target_untouched": True}, f"{WAS_TO} It failed; nothing was written."),
        (
            "CANCELLED",
            {"rollback_result": {"status": "success"}},
            f"{WAS_TO} It was cancelled; Production is as it was before.",
        ),
        (
            "FAILED",
            {"needs_attention": True},
            f"{WAS_TO} It failed, and Production may hold a mix of old and new workflows.",
        ),
        (
            "FAILED",
            {"released": {"by": "", "at": "", "reason": "Fine."}},
            f"{WAS_TO} It failed; Production was looked at and released as it was then.",
        ),
        ("FAILED", {}, f"{WAS_TO} It failed."),  # as a runbook may leave it
    ],
)
def test_it_says_what_is_so(status: str, result: dict[str, Any], said: str) -> None:
    places = {"source_environment": Environment(name="Staging"), "target_environment": Environment(name="Production")}
    promotion = Promotion(status=status, started_at=clock.now(), **places)
    assert of_promotion(promotion, plan(), read_result(result)) == said


def test_many_are_counted() -> None:
    first = plan().items[0]
    many = [msgspec.structs.replace(first, key=f"billing-{number}") for number in range(5)]
    places = {"source_environment": Environment(name="Staging"), "target_environment": Environment(name="Production")}
    said = of_promotion(Promotion(**places), plan(items=tuple(many)), read_result(None))
    assert said == "Would change 5 workflows in Production, as in Staging."
