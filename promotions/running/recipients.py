"""Who has to know what came of a promotion or its rollback: whoever asked for it and whoever approved it."""

from __future__ import annotations

import uuid

from django.db.models import Q

from operations.models import Operation
from promotions.models import Promotion
from workflows.watching.notices import PeopleOfJob


def people_of(notice: PeopleOfJob) -> set[uuid.UUID]:
    """The people of the promotion that an operation carried out or rolled back. Needs the tenant's scope."""
    operation_id = notice.operation_id
    rolled_back = Operation.objects.filter(pk=operation_id, subject_type="promotion").values("subject_id")
    rows = Promotion.objects.filter(Q(operation_id=operation_id) | Q(pk__in=rolled_back))
    return {person for row in rows.values_list("created_by_id", "decided_by_id") for person in row if person}
