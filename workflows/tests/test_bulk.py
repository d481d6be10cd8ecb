"""What is inserted in bulk is what saving one by one would have written."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import Cast
from tenants.scope import tenant_scope
from workflows import bulk
from workflows.models import CanonicalWorkflow, Environment, WorkflowEnvMap

texts = st.sampled_from(["", "a", "wörk \u2028 'quoted' \"twice\" \\ {}", "%s", "𝔘"]) | st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20
)
documents = st.none() | st.fixed_dictionaries({"body": texts, "refs": st.lists(texts, max_size=2)})
times = st.none() | st.integers(0, 2**40).map(lambda moment: datetime.fromtimestamp(moment / 1024, UTC))
places = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["linked", "unmapped"]),
        "git_content_hash": st.none() | texts,
        "env_content_hash": st.none() | texts,
        "fingerprint": documents,
        "git_fingerprint": documents,
        "env_name": texts,
        "env_active": st.none() | st.booleans(),
        "git_active": st.none() | st.booleans(),
        "env_tags": st.lists(texts, max_size=2),
        "node_count": st.integers(0, 5000),
        "content_changed_at": times,
        "last_seen_at": times,
    }
)


@pytest.mark.django_db
@given(st.lists(places, min_size=1, max_size=4), st.booleans())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_come_back_as_they_were_given(cast: Cast, given_places: list[dict[str, object]], alike: bool) -> None:
    if alike:
        given_places = [given_places[0]] * len(given_places)
    tenant_id = cast.tenant.pk
    with tenant_scope(tenant_id):
        environment = Environment.objects.create(tenant_id=tenant_id, name="E", slug=uuid.uuid4().hex, kind="dev")
        canonicals = [CanonicalWorkflow(tenant_id=tenant_id, key=uuid.uuid4().hex, name="Same") for _ in given_places]
        bulk.insert(canonicals)
        rows = [
            WorkflowEnvMap(
                tenant_id=tenant_id,
                environment=environment,
                canonical_workflow=canonical,
                env_workflow_id=uuid.uuid4().hex,
                **values,
            )
            for canonical, values in zip(canonicals, given_places, strict=True)
        ]
        bulk.insert(rows)
        for row in rows:
            assert not row._state.adding
            stored = WorkflowEnvMap.objects.get(pk=row.pk)
            for field in WorkflowEnvMap._meta.concrete_fields:
                assert getattr(stored, field.attname) == getattr(row, field.attname), field.name
            assert stored.created_at is not None
