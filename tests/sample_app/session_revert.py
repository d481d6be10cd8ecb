"""How what a support session wrote here is reverted."""

from __future__ import annotations

from typing import ClassVar

from impersonation.reverting.changes import Change
from impersonation.reverting.items import Verdict
from impersonation.reverting.jobbase import FixedVerdict
from impersonation.reverting.rowbase import Row, RowReverter, values_before
from tenants.models import User

from .models import Bottle


class Bottles(RowReverter):
    name = "sample_bottles"
    columns: ClassVar = {"name": "Name"}

    def write_back(self, change: Change, now: Row | None, by: User) -> None:
        Bottle.objects.filter(pk=change.pk).update(**values_before(change, "name"))

    def remove_created(self, change: Change, by: User) -> None:
        Bottle.objects.filter(pk=change.pk).delete()


FILLING = FixedVerdict("bottles.fill", "filling", Verdict.NOTHING, "What is filled stays filled.")
