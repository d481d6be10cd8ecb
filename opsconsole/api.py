"""The REST API, put together from the apps' routers."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from ninja.parser import Parser
from ninja.renderers import BaseRenderer

from core.errors import Invalid, OpsError
from core.registry import registry
from core.texts import json_bytes
from tenants.api import BearerToken
from workflows.exact_json import Verbatim


class JSONRenderer(BaseRenderer):
    """orjson; ids, times and Decimals as text, large parts of workflows as they are kept."""

    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        return json_bytes(data, default=_plain, option=orjson.OPT_UTC_Z)


def _plain(value: Any) -> Any:
    return orjson.Fragment(value.text) if isinstance(value, Verbatim) else str(value)


#: What every call may answer besides what it promises.
ERROR_SCHEMA = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "details", "recovery"],
            "properties": {
                "code": {"type": "string", "description": "Stable: PROMO_003, NOT_FOUND, …"},
                "message": {"type": "string", "description": "A plain sentence"},
                "details": {"type": "object"},
                "recovery": {"type": "string", "description": "The way out"},
            },
        },
        "operation": {"type": "object", "description": "The job, where the call waited for one that failed"},
    },
    "additionalProperties": True,
}
CODES = {"400": "Refused", "401": "Sign in first", "403": "Not allowed", "404": "Not found, or not yours to see",
         "409": "Not in this state", "422": "Some values cannot be used", "429": "Too many", "4XX": "Refused",
         "502": "The other side failed", "503": "Not available now", "504": "The other side is late"}  # fmt: skip


class ConsoleAPI(NinjaAPI):
    """Every operation's description also names the errors."""

    def get_openapi_schema(self, **kwargs: Any) -> Any:
        schema = super().get_openapi_schema(**kwargs)
        schema.setdefault("components", {}).setdefault("schemas", {})["Error"] = ERROR_SCHEMA
        body = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
        for path in schema["paths"].values():
            for operation in path.values():
                for code, description in CODES.items():
                    operation["responses"].setdefault(code, {"description": description, "content": body})
        return schema


class JSONParser(Parser):
    """A body that is not JSON gets a plain answer."""

    def parse_body(self, request: HttpRequest) -> Any:
        try:
            return orjson.loads(request.body or b"{}")
        except orjson.JSONDecodeError as error:
            raise Invalid(f"The body is not JSON: {error}.", recovery="Send a JSON object.") from error


api = ConsoleAPI(
    title="OpsConsole",
    version="1",
    description="Everything the console does, for programs and for people with curl.",
    urls_namespace="api-v1",
    auth=BearerToken(),
    renderer=JSONRenderer(),
    parser=JSONParser(),
    docs_url=None,
)
for _router in registry.rest_routers():
    api.add_router("", import_string(_router.path), tags=[_router.tag])


def answer(request: HttpRequest, error: OpsError) -> HttpResponse:
    response = HttpResponse(
        json_bytes({"error": error.to_dict(), **error.beside}, default=str),
        status=error.status,
        content_type="application/json",
    )
    response.error_code = error.code  # type: ignore[attr-defined]
    # The request was carried out and failed: the same Idempotency-Key must not carry it out again.
    response.tells_an_end = bool(error.beside)  # type: ignore[attr-defined]
    response.asks_for_a_header = error.asks_for_a_header  # type: ignore[attr-defined]
    return response


@api.exception_handler(OpsError)
def ops_error(request: HttpRequest, error: OpsError) -> HttpResponse:
    return answer(request, error)


@api.exception_handler(ValidationError)
def invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    fields = {".".join(str(part) for part in e.get("loc", ())[1:]): e.get("msg", "") for e in error.errors}
    return answer(request, Invalid(details={"fields": fields}))


@api.exception_handler(HttpError)
def http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    if isinstance(error.__cause__, OpsError):  # raised by our own parser
        return answer(request, error.__cause__)
    refused = Invalid(str(error))
    response = answer(request, refused)
    response.status_code = error.status_code
    return response


def body_digest(request: HttpRequest) -> str:
    """A digest of what was asked, for the comparison behind ``Idempotency-Key``."""
    return hashlib.sha256(request.get_full_path().encode() + b"\0" + request.body).hexdigest()
