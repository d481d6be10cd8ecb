"""Documents that are stored or travel between modules: typed, and shown by the REST API in the same shape."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import UnionType
from typing import Any, Self, TypeVar, Union, get_args, get_origin

import msgspec
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from .texts import storable_struct

Read = TypeVar("Read")

_described: set[Any] = set()
_describing = threading.Lock()


def convert(data: Any, kind: type[Read]) -> Read:
    """``msgspec.convert``, safe where several threads meet a type for the first time.

    msgspec 0.22 describes a type when it is first used, and the process crashes where another thread uses it half
    described. Raises ``msgspec.ValidationError``.
    """
    if kind not in _described:
        with _describing:
            msgspec.json.Decoder(kind)
            _described.add(kind)
    return msgspec.convert(data, kind)


def describe_all() -> None:
    """The same for every struct that is defined by now. Once, before the first thread starts."""
    todo = list(msgspec.Struct.__subclasses__())
    while todo:
        kind = todo.pop()
        todo += kind.__subclasses__()
        msgspec.json.Decoder(kind)


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A frozen struct that is stored as JSON and can be a field of a REST schema, which then describes it in full.

    A field that is ``UNSET`` is left out. Unknown fields are ignored when reading, so that an older console can read
    what a newer one wrote.
    """

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read what ``to_json`` made. Raises ``msgspec.ValidationError``."""
        return convert(data, cls)

    def to_json(self) -> dict[str, Any]:
        """Dictionaries, lists, texts and numbers, as the database gives them back."""
        found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(storable_struct(self)))
        return found

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        fields = {
            one.encode_name: core_schema.typed_dict_field(
                handler.generate_schema(_without_unset(one.type)), required=not _may_be_unset(one.type)
            )
            for one in msgspec.structs.fields(cls)
        }
        shape = core_schema.typed_dict_schema(fields, cls_name=cls.__name__, ref=f"{cls.__module__}.{cls.__qualname__}")
        return core_schema.no_info_before_validator_function(_plain, shape)


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else msgspec.to_builtins(value)


def _may_be_unset(kind: Any) -> bool:
    return msgspec.UnsetType in get_args(kind)


def _without_unset(kind: Any) -> Any:
    if get_origin(kind) not in (Union, UnionType) or not _may_be_unset(kind):
        return kind
    return Union[tuple(part for part in get_args(kind) if part is not msgspec.UnsetType)]  # noqa: UP007
