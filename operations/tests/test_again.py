"""What may pass by itself is tried again, told in plain words, and parked for a person after the last attempt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from operations import engine, handlers, services
from operations.engine import Run
from operations.errors import TryAgain
from operations.models import Operation
from tenants.scope import tenant_scope

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def patient() -> Iterator[str]:
    class Patient:
        kind: ClassVar[str] = "test.patient"

        def run(self, run: Run) -> dict[str, Any]:
            raise TryAgain("n8n is away.")

    handlers.register(Patient)
    yield Patient.kind
    handlers._handlers.pop(Patient.kind)


def test_the_words_reach_the_person_and_the_last_attempt_parks(live_cast: Any, patient: str) -> None:
    tenant_id = live_cast.tenant.pk
    operation = services.start(tenant_id=tenant_id, kind=patient, title="Wait", params={}, requested_by=live_cast.owner)
    with tenant_scope(tenant_id):
        Operation.objects.filter(pk=operation.pk).update(max_attempts=2)
    told = []
    for _ in range(2):
        with tenant_scope(tenant_id):
            Operation.objects.filter(pk=operation.pk).update(run_after=None)
        engine.drive(operation_id=operation.pk, tenant_id=tenant_id)
        with tenant_scope(tenant_id):
            row = Operation.objects.get(pk=operation.pk)
        told.append((row.status, row.error_code, row.error_message))
    words = ("OPERATION_UNFINISHED", "n8n is away.")
    assert told == [("RETRY_PENDING", *words), ("PARKED", *words)]
