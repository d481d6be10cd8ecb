"""The capabilities of an instance, read from the contract that it publishes (`/api/v1/openapi.yml`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from core.texts import storable
from workflows.normalization import SETTING_DEFAULTS

from .document import DocumentError, read_document
from .errors import NotAnApi

_OLDEST_WRITE_KEYS = frozenset({"name", "nodes", "connections", "settings", "staticData"})
_METHODS = frozenset({"get", "post", "put", "patch", "delete"})
_PARAMETER = re.compile(r"\{[^{}]*\}")
_LONGEST_WORD = 200

Capability = Literal[
    "publish",
    "unpublish",
    "activate",
    "deactivate",
    "activate_version",
    "stage",
    "archive",
    "unarchive",
    "history",
    "version",
    "list_credentials",
    "create_credential",
    "choose_credential_id",
    "test_credential",
    "data_tables",
    "folders",
    "move_to_folder",
    "community_packages",
    "discover",
    "insights",
    "variables",
    "list_executions",
    "retry_execution",
    "audit",
]
"""What an instance may offer, by meaning: calls were renamed and their paths respelt between versions of n8n."""

_CALLS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "publish": (("post", "/workflows/{}/publish"),),
    "unpublish": (("post", "/workflows/{}/unpublish"),),
    "activate": (("post", "/workflows/{}/activate"),),
    "deactivate": (("post", "/workflows/{}/deactivate"),),
    "archive": (("post", "/workflows/{}/archive"),),
    "unarchive": (("post", "/workflows/{}/unarchive"),),
    "history": (("get", "/workflows/{}/history"),),
    "version": (("get", "/workflows/{}/versions/{}"), ("get", "/workflows/{}/{}")),
    "list_credentials": (("get", "/credentials"),),
    "create_credential": (("post", "/credentials"),),
    "test_credential": (("post", "/credentials/{}/test"),),
    "data_tables": (("get", "/data-tables"),),
    "folders": (("get", "/projects/{}/folders"),),
    "community_packages": (("get", "/community-packages"),),
    "discover": (("get", "/discover"),),
    "insights": (("get", "/insights/summary"),),
    "variables": (("get", "/variables"),),
    "list_executions": (("get", "/executions"),),
    "retry_execution": (("post", "/executions/{}/retry"),),
    "audit": (("post", "/audit"),),
}
"""The spellings of each call; any one of them will do. `stage`, `activate_version`, `move_to_folder` and
the choice of an id for a credential are read off parameters and bodies."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Endpoints and allowed keys. `known` is False where the instance published nothing and the oldest set is assumed.

    `settings` maps each allowed key to its schema; `node_keys` is None where the spec leaves nodes open.
    """

    endpoints: Mapping[str, frozenset[str]] = field(default_factory=dict)
    create_keys: frozenset[str] = _OLDEST_WRITE_KEYS
    update_keys: frozenset[str] = _OLDEST_WRITE_KEYS
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    node_keys: frozenset[str] | None = None
    api_version: str = ""
    known: bool = False
    saves_drafts: bool = False
    activates_versions: bool = False
    chooses_credential_ids: bool = False

    def has(self, method: str, path: str) -> bool:
        """Whether the instance offers the call, however it names its path parameters.

        Calls of the oldest versions count where nothing is known.
        """
        if not self.known:
            return path.startswith(("/workflows", "/tags", "/executions", "/audit")) and not path.endswith("/publish")
        return method.lower() in self.endpoints.get(_spelt(path), ())

    def can(self, capability: Capability) -> bool:
        """Whether the instance offers what is meant, whatever its version calls it."""
        if capability == "stage":
            return self.saves_drafts and self.can("publish")
        if capability == "move_to_folder":
            return "parentFolderId" in self.update_keys
        if capability == "choose_credential_id":
            return self.chooses_credential_ids
        if capability == "activate_version":
            return self.activates_versions or self.can("publish")
        if not self.known:
            return capability in ("activate", "deactivate", "list_executions", "audit")
        return any(self.has(method, path) for method, path in _CALLS[capability])

    def takes(self, path: str) -> bool:
        """Whether an update takes the part of a workflow at ``path``: ``description``, ``settings.timezone``."""
        part, _, name = path.partition(".")
        return name in self.settings if part == "settings" and name else path in self.update_keys

    def capabilities(self) -> dict[str, bool]:
        """Every capability with whether it is there, for a person to read."""
        return {name: self.can(name) for name in get_args(Capability)}

    @classmethod
    def assumed(cls) -> Capabilities:
        """For an instance that hides its contract: what every supported version takes."""
        newer = {"callerPolicy", "callerIds", "timeSavedPerExecution", "availableInMCP"}
        return cls(settings={key: {} for key in SETTING_DEFAULTS if key not in newer})

    @classmethod
    def from_yaml(cls, data: bytes) -> Capabilities:
        """Read a contract; raises `NotAnApi` where it is none."""
        try:
            return cls._read(read_document(data))
        except DocumentError as exc:
            raise NotAnApi("The instance's description of its API cannot be read.") from exc
        except (AttributeError, TypeError, ValueError, KeyError) as exc:  # a part of another shape than in a contract
            raise NotAnApi("The instance's description of its API is not one.") from exc

    @classmethod
    def _read(cls, document: Any) -> Capabilities:
        by_spelling = {_spelt(path): item for path, item in document["paths"].items() if isinstance(item, dict)}
        reader = _Reader(document)

        def operation(method: str, path: str) -> Any:
            return by_spelling.get(path, {}).get(method)

        putting = operation("put", "/workflows/{}")
        create = reader.body(operation("post", "/workflows"))
        update = reader.body(putting) or create
        settings = reader.properties(update.get("settings"))[0]
        return cls(
            endpoints={path: _METHODS.intersection(item) for path, item in by_spelling.items()},
            create_keys=reader.writable(create) or _OLDEST_WRITE_KEYS,
            update_keys=reader.writable(update) or _OLDEST_WRITE_KEYS,
            settings={key: _setting(schema) for key, schema in settings.items()} or cls.assumed().settings,
            node_keys=reader.node_keys(update.get("nodes")),
            api_version=_word((document.get("info") or {}).get("version")),
            known=True,
            saves_drafts="publishIfActive" in reader.parameters(putting),
            activates_versions="versionId" in reader.body(operation("post", "/workflows/{}/activate")),
            chooses_credential_ids="id" in reader.writable(reader.body(operation("post", "/credentials"))),
        )


def _spelt(path: str) -> str:
    """A path without the names of its parameters: `/workflows/{}` for `{id}` and `{workflowId}` alike."""
    return _PARAMETER.sub("{}", path)


def _setting(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parts of a setting's schema that are used: the allowed values, where they are listed, and the default."""
    enum = schema.get("enum")
    return {key: value for key, value in schema.items() if key == "default"} | (
        {"enum": enum} if isinstance(enum, list) else {}
    )


def _word(value: Any) -> str:
    return storable(str(value or ""))[:_LONGEST_WORD]


class _Reader:
    """Reads parts of a document, each `$ref` resolved once."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._targets: dict[str, dict[str, Any]] = {}

    def resolve(self, schema: Any) -> dict[str, Any]:
        """Follow `$ref`s inside the document; anything else is taken as open."""
        for _ in range(16):
            if not isinstance(schema, dict):
                return {}
            ref = schema.get("$ref")
            if not isinstance(ref, str):
                return schema
            if ref not in self._targets:
                self._targets[ref] = self._target(ref)
            schema = self._targets[ref]
        return {}

    def _target(self, ref: str) -> dict[str, Any]:
        target: Any = self._document
        for part in ref.removeprefix("#/").split("/"):
            target = target.get(part, {}) if isinstance(target, dict) else {}
        return target if isinstance(target, dict) else {}

    def properties(self, schema: Any) -> tuple[dict[str, dict[str, Any]], bool]:
        """The properties of an object's schema, `allOf` included, and whether others are refused."""
        found: dict[str, dict[str, Any]] = {}
        closed = False
        waiting, seen = [schema], set()
        while waiting:
            part = self.resolve(waiting.pop())
            if id(part) in seen:
                continue
            seen.add(id(part))
            found |= {name: self.resolve(value) for name, value in (part.get("properties") or {}).items()}
            closed = closed or part.get("additionalProperties") is False
            waiting += reversed(part.get("allOf") or ())
        return found, closed

    def body(self, operation: Any) -> dict[str, dict[str, Any]]:
        if not isinstance(operation, dict):
            return {}
        content = self.resolve(operation.get("requestBody")).get("content") or {}
        return self.properties((content.get("application/json") or {}).get("schema"))[0]

    def node_keys(self, nodes: Any) -> frozenset[str] | None:
        """The keys that a node may have; None where the schema allows any."""
        properties, closed = self.properties(self.resolve(nodes).get("items"))
        return self.writable(properties) if properties and closed else None

    def parameters(self, operation: Any) -> frozenset[str]:
        """The names of the parameters in the query of a call."""
        listed = operation.get("parameters") if isinstance(operation, dict) else None
        found = (self.resolve(one) for one in listed or ())
        return frozenset(_word(one["name"]) for one in found if one.get("in") == "query" and "name" in one)

    @staticmethod
    def writable(properties: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
        return frozenset(key for key, schema in properties.items() if not schema.get("readOnly"))
