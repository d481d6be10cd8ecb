"""The API against its own OpenAPI: whatever is sent, it answers as it says it does, never with a failure of ours."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
import schemathesis
from django.conf import settings as settings_of_django
from django.core import signals
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.test import Client
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case, checks
from schemathesis.specs.openapi import checks as promises

from conftest import Cast
from core import crypto
from opsconsole.api import api
from tenants.models import TenantRole
from tenants.scope import tenant_scope
from tenants.services import set_membership
from tenants.tokens import create_token

pytestmark = pytest.mark.django_db

EXAMPLES = 10
CHECKS = [
    checks.not_a_server_error,
    promises.status_code_conformance,
    promises.content_type_conformance,
    promises.response_schema_conformance,
]

schema = schemathesis.openapi.from_dict(api.get_openapi_schema(path_prefix="/api/v1/"))
schema.app = get_wsgi_application()


@pytest.fixture(autouse=True)
def _one_connection() -> Iterator[None]:
    """A request's end must not close the connection that the test's transaction lives on."""
    told = (signals.request_started, signals.request_finished)
    for signal in told:
        signal.disconnect(close_old_connections)
    yield
    for signal in told:
        signal.connect(close_old_connections)


@pytest.fixture
def known(cast: Cast) -> dict[str, str]:
    """Somebody who may do everything in a tenant that holds an environment; what they could name."""
    from workflows.models import Environment

    set_membership(tenant=cast.tenant, user=cast.admin, role=TenantRole.OWNER, by=None)
    _, secret = create_token(user=cast.admin, name="fuzz")
    with tenant_scope(cast.tenant.pk):
        environment = Environment.objects.create(
            tenant=cast.tenant,
            name="Production",
            slug="production",
            kind="production",
            base_url="http://127.0.0.1:9",
            api_key_encrypted=crypto.encrypt("key"),
        )
    return {
        "authorization": f"Bearer {secret}",
        "tenant": "acme",
        "environment_id": str(environment.pk),
        "source_env_id": str(environment.pk),
        "target_env_id": str(environment.pk),
        "source_environment_id": str(environment.pk),
        "target_environment_id": str(environment.pk),
        "user_id": str(cast.viewer.pk),
    }


def _name_what_exists(case: Case, known: dict[str, str]) -> None:
    """Chance alone never hits an id: half of the calls name what is there. Nobody waits for work that nobody does."""
    if random.random() < 0.5:
        for place in (case.path_parameters, case.query, case.body):
            if isinstance(place, dict):
                place.update({name: value for name, value in known.items() if name in place})
    if isinstance(case.query, dict) and "wait" in case.query:
        case.query["wait"] = 0


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_call_keeps_its_word(case: Case, known: dict[str, str]) -> None:
    _name_what_exists(case, known)
    response = case.call(headers={"Authorization": known["authorization"]})
    case.validate_response(response, checks=CHECKS)


def test_every_call_of_the_api_is_asked() -> None:
    assert len(list(schema.get_all_operations())) == sum(
        len(path) for path in api.get_openapi_schema(path_prefix="/api/v1/")["paths"].values()
    )


@pytest.mark.parametrize("path", ["/t/acme/", "/t/acme/members/", "/t/acme/drift/"])
def test_a_page_refuses_what_no_column_holds(client: Client, cast: Cast, path: str) -> None:
    client.force_login(cast.owner, backend=settings_of_django.AUTHENTICATION_BACKENDS[0])
    assert client.get(path, {"q": "a\0b"}).status_code in (200, 422)
