"""What an instance has around its workflows: data tables, variables, packages, and the scopes of the API key.

Read from n8n by a plan or a connection test and kept per environment, so that pages and comparisons need not ask
again. What could not be read is None, and ``why`` gives the reason.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from core import clock
from core.errors import OpsError
from tenants.scope import tenant_scope

from .gateway import quick_client_for
from .identity import record_listed_credentials
from .models import Environment, EnvironmentSurroundings
from .n8n import N8nClient, errors
from .n8n.scopes import read_scopes
from .n8n.spec import Capabilities, Capability

_Read = TypeVar("_Read")

SURROUNDINGS_VERSION = 1
ITEMS_KEPT = 2000
PARTS_KEPT = 200
"""Columns of a table, and types of node in a package."""
_WORD = 200


class Column(msgspec.Struct, frozen=True):
    """A column of a data table; ``type`` in n8n's words (string, number, boolean, date)."""

    name: str
    type: str


class DataTable(msgspec.Struct, frozen=True):
    """A data table of an instance."""

    id: str
    name: str
    columns: tuple[Column, ...] = ()


class Variable(msgspec.Struct, frozen=True):
    """A variable: its value is not kept, only a digest to compare by."""

    key: str
    digest: str


class Package(msgspec.Struct, frozen=True):
    """An installed community package and the types of node in it."""

    name: str
    version: str
    node_types: tuple[str, ...] = ()


class Surroundings(msgspec.Struct, frozen=True):
    """All of it, as of ``read_at``. ``scopes`` None: the instance does not list the scopes of the key.

    ``settings`` are the names of those that a write may contain; None where that is not known. ``reached`` is False
    where the instance could not be asked and this is what was known before.
    """

    data_tables: tuple[DataTable, ...] | None = None
    variables: tuple[Variable, ...] | None = None
    packages: tuple[Package, ...] | None = None
    scopes: tuple[str, ...] | None = None
    settings: tuple[str, ...] | None = None
    lists_credentials: bool = False
    creates_credentials: bool = False
    checks_structure: bool = False
    why: dict[str, str] = {}
    read_at: datetime | None = None
    reached: bool = True
    surroundings_version: int = SURROUNDINGS_VERSION

    def table_named(self, name: str) -> DataTable | None:
        """The data table of exactly this name, if there is one and only one."""
        found = [table for table in self.data_tables or () if table.name == name]
        return found[0] if len(found) == 1 else None

    def table(self, table_id: str) -> DataTable | None:
        """The data table of this id."""
        return next((table for table in self.data_tables or () if table.id == table_id), None)

    def to_json(self) -> dict[str, Any]:
        """For ``EnvironmentSurroundings.seen``; ``read_stored`` reads it."""
        stored: dict[str, Any] = msgspec.to_builtins(self)
        return stored


def read_stored(stored: Any) -> Surroundings:
    """Stored surroundings of any version; where there are none, or they cannot be read, nothing is known.

    Those from before versions were written have the same fields, without ``surroundings_version``.
    """
    try:
        return msgspec.convert(stored or {}, Surroundings)
    except msgspec.ValidationError:
        return Surroundings()


def read_surroundings(client: N8nClient) -> Surroundings:
    """Ask an instance for what its contract offers; a part that fails is None. At most five calls, some of which page.

    Raises ``Unreachable`` or ``Unauthorized``.
    """
    spec = client.spec()
    why: dict[str, str] = {}

    def ask(kind: str, capability: Capability, read: Callable[[], _Read]) -> _Read | None:
        if not spec.can(capability):
            why[kind] = "This n8n does not list them."
            return None
        try:
            return read()
        except errors.NotLicensed:
            why[kind] = "Not on this plan: n8n lists them with a licence only."
        except errors.ScopeMissing:
            why[kind] = "The API key may not list them."
        except (errors.Unreachable, errors.Unauthorized):
            raise
        except (errors.N8nError, TypeError, ValueError, AttributeError, KeyError):
            why[kind] = "n8n's answer could not be used."
        return None

    return Surroundings(
        data_tables=ask("data_tables", "data_tables", lambda: _tables(client)),
        variables=ask("variables", "variables", lambda: _variables(client)),
        packages=ask("packages", "community_packages", lambda: _packages(client)),
        settings=tuple(sorted(spec.settings)),
        scopes=ask("scopes", "discover", lambda: read_scopes(client)),
        lists_credentials=spec.can("list_credentials"),
        creates_credentials=spec.can("create_credential"),
        checks_structure=checks_structure(spec),
        why=why,
        read_at=clock.now(),
    )


def checks_structure(spec: Capabilities) -> bool:
    """Whether an instance refuses content that does not fit together.

    The structure check came before node groups, and every n8n that takes these has it.
    """
    return "nodeGroups" in spec.update_keys


def _tables(client: N8nClient) -> tuple[DataTable, ...]:
    return tuple(data_table_of(raw) for raw in client.all_of("/data-tables")[:ITEMS_KEPT])


def data_table_of(raw: Mapping[str, Any]) -> DataTable:
    """n8n's answer as a table."""
    ordered = sorted(raw.get("columns") or (), key=lambda column: column.get("index") or 0)
    columns = tuple(Column(_word(c["name"]), _word(c.get("type") or "string")) for c in ordered[:PARTS_KEPT])
    return DataTable(_word(raw["id"]), _word(raw.get("name")), columns)


def _word(value: Any) -> str:
    return str(value or "")[:_WORD]


def _variables(client: N8nClient) -> tuple[Variable, ...]:
    return tuple(
        Variable(_word(raw["key"]), hashlib.sha256(str(raw.get("value", "")).encode()).hexdigest()[:16])
        for raw in client.all_of("/variables")[:ITEMS_KEPT]
    )


def _packages(client: N8nClient) -> tuple[Package, ...]:
    body = client.call("GET", "/community-packages").json()
    rows = body.get("data", []) if isinstance(body, dict) else body
    return tuple(
        Package(
            _word(raw["packageName"]),
            _word(raw.get("installedVersion")),
            tuple(_word(n.get("type") or n.get("name")) for n in (raw.get("installedNodes") or [])[:PARTS_KEPT]),
        )
        for raw in rows[:ITEMS_KEPT]
    )


def refresh(environment: Environment) -> Surroundings:
    """Read an environment's surroundings and credentials, and store them. Call outside any scope.

    Where the instance cannot be asked now: what is stored, with ``reached`` False.
    """
    try:
        with quick_client_for(environment) as client:
            found = read_surroundings(client)
            listed = client.list_credentials()
    except OpsError:
        return msgspec.structs.replace(stored(environment.tenant_id, environment.pk), reached=False)
    keep(environment, found, listed)
    return found


def keep(environment: Environment, found: Surroundings | None, listed: list[dict[str, Any]] | None) -> None:
    """Store what was read. None for either part leaves what is stored as it is. Call outside any scope."""
    with tenant_scope(environment.tenant_id):
        if found is not None:
            EnvironmentSurroundings.objects.update_or_create(
                tenant_id=environment.tenant_id, environment_id=environment.pk, defaults={"seen": found.to_json()}
            )
        if listed is not None:
            record_listed_credentials(
                tenant_id=environment.tenant_id, environment_id=environment.pk, listed=listed, seen_at=clock.now()
            )


def stored(tenant_id: uuid.UUID, environment_id: uuid.UUID) -> Surroundings:
    """What was read last; all unknown where nothing was."""
    with tenant_scope(tenant_id):
        row = EnvironmentSurroundings.objects.filter(environment_id=environment_id).values_list("seen", flat=True)
        return read_stored(row.first())
