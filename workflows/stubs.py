"""Stubs of credentials: the right type and name, and no secret, which a person enters in n8n."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from core import clock
from operations.effects import Effect, ProbeResult
from operations.engine import Run

from .models import Environment, KnownCredential
from .n8n import N8nClient
from .n8n.errors import RemoteNotFound
from .writes.effects import to_n8n

_EMPTY: Mapping[str, Any] = {"number": 0, "integer": 0, "boolean": False}


class Stub(msgspec.Struct, frozen=True):
    """A credential that was created without its secret; ``url`` is the page of n8n where that is entered."""

    id: str
    name: str
    type: str
    url: str

    @classmethod
    def at(cls, environment: Environment, kind: str, name: str, credential_id: str) -> Stub:
        """The stub with this id in an environment."""
        return cls(credential_id, name, kind, f"{environment.base_url}/home/credentials/{credential_id}")

    def to_json(self) -> dict[str, Any]:
        """For a step's result."""
        stored: dict[str, Any] = msgspec.to_builtins(self)
        return stored


def make_stub(
    run: Run, client: N8nClient, environment: Environment, *, kind: str, name: str, credential_id: str = ""
) -> Stub:
    """Create it once, however often the job is begun again, and record that its secret is missing.

    ``credential_id`` is the id that it is to have, where the instance lets it be chosen; else n8n gives one.
    """

    def act() -> dict[str, Any]:
        body = {"name": name, "type": kind, "data": placeholder(client.call("GET", _schema(kind)).json())}
        body |= {"id": credential_id} if credential_id else {}
        raw = client.call("POST", "/credentials", body=body).json()
        return Stub.at(environment, kind, name, str(raw["id"])).to_json()

    def look(_intent: dict[str, Any]) -> ProbeResult:
        if not client.spec().can("list_credentials"):
            return ProbeResult.unknown(message="This n8n does not list credentials; check there whether it exists.")
        listed = client.list_credentials() or []
        wanted = {"type": kind, **({"id": credential_id} if credential_id else {"name": name})}
        found = next((c for c in listed if wanted.items() <= c.items()), None)
        if found is None:
            return ProbeResult.not_done()
        return ProbeResult.done(Stub.at(environment, kind, name, found["id"]).to_json())

    title = f"Create the credential “{name}” without its secret"
    call = to_n8n(environment, "", title, method="POST", path="/credentials")
    effect = Effect(f"stub:{kind}:{credential_id or name}"[:200], title, {"path": "/credentials"}, act, look, call)
    made = msgspec.convert(run.effect(effect), Stub)
    with run.fenced():
        KnownCredential.objects.update_or_create(
            tenant_id=environment.tenant_id,
            environment_id=environment.pk,
            credential_type=kind,
            credential_id=made.id,
            defaults={
                "name": name,
                "source": "listed",
                "is_gone": False,
                "needs_secret": True,
                "last_seen_at": clock.now(),
            },
        )
    return made


def _schema(kind: str) -> str:
    return f"/credentials/schema/{quote(kind, safe='')}"


def can_have(credential_id: str) -> bool:
    """Whether n8n takes this as the id of a credential."""
    return re.fullmatch(r"[A-Za-z0-9_-]{1,16}", credential_id) is not None


def is_known(client: N8nClient, kind: str) -> bool:
    """Whether this n8n has such a type of credential."""
    try:
        client.call("GET", _schema(kind))
    except RemoteNotFound:
        return False
    return True


def placeholder(schema: Any) -> dict[str, Any]:
    """The least data with which n8n takes a credential of this type: every required field, empty.

    Older n8n requires some fields by the values of others, of which one that is left out has every value.
    """
    if not isinstance(schema, dict):
        return {}
    found = {name: _empty(schema, name) for name in schema.get("required") or ()}
    while lacking := _lacking(schema, found):
        found |= {name: _empty(schema, name) for name in lacking}
    return found


def _lacking(schema: Mapping[str, Any], data: Mapping[str, Any]) -> list[str]:
    rules = (rule for rule in schema.get("allOf") or () if isinstance(rule, dict))
    return [name for rule in rules for name in _required(_branch(rule, data)) if name not in data]


def _empty(schema: Mapping[str, Any], name: str) -> Any:
    described = (schema.get("properties") or {}).get(name) or {}
    return described["enum"][0] if described.get("enum") else _EMPTY.get(str(described.get("type")), "")


def _branch(rule: Mapping[str, Any], data: Mapping[str, Any]) -> Mapping[str, Any]:
    conditions = ((rule.get("if") or {}).get("properties") or {}).items()
    holds = all(name not in data or data[name] in condition.get("enum", ()) for name, condition in conditions)
    return rule.get("then" if holds else "else") or {}


def _required(branch: Mapping[str, Any]) -> list[str]:
    parts = [branch, *(branch.get("allOf") or ())]
    return [name for part in parts for name in part.get("required") or ()]


def waiting_for_secrets(environment: Environment) -> list[Stub]:
    """The stubs of an environment whose secrets nobody has entered. Needs the tenant's scope."""
    rows = KnownCredential.objects.filter(environment_id=environment.pk, needs_secret=True, is_gone=False)
    ordered = rows.order_by("name", "credential_type")[:500].values_list("credential_type", "name", "credential_id")
    return [Stub.at(environment, kind, name, credential_id) for kind, name, credential_id in ordered]


def secret_entered(*, environment: Environment, credential_id: str) -> int:
    """Record that a person has entered the secret of a stub in n8n; how many rows changed. Needs the tenant's scope."""
    return KnownCredential.objects.filter(
        environment_id=environment.pk, credential_id=credential_id, needs_secret=True
    ).update(needs_secret=False)
