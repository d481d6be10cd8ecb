"""The wire: HTTP in, HTTP out, and the faults in between."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from . import api, control, persist
from .api import Answer
from .faults import Fault
from .records import MAX_CALLS, Call, Workflow, etag
from .schema import openapi
from .state import Instance, World

TRANSPORT = "sandbox.transport"
MALFORMED = b"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Error</title>
</head>
<body>
<pre>ResponseError: Failed to parse request body</pre>
</body>
</html>
"""


class Dropped(Exception):
    """Close the connection without another word."""


class Sandbox:
    """The ASGI application: `/{instance}/api/v1/...`, `/{instance}/webhook/...`, and `/_control/...`."""

    def __init__(self, *, control_token: str, data: Path | None = None, world: World | None = None) -> None:
        self.world = world or World()
        self.data = data
        if data is not None:
            persist.load(self.world, data)
        self.control: ASGIApp = control.build(self.world, token=control_token, save=self.save)

    def save(self) -> bool:
        """Write the state down, where a folder was given."""
        if self.data is None:
            return False
        persist.save(self.world, self.data)
        return True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        if scope["path"].startswith("/_control"):
            await self.control(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            answer = await self._answer(request)
        except Dropped:
            await _hang_up(scope)
            return
        await _response(answer)(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            event = await receive()
            if event["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            elif event["type"] == "lifespan.shutdown":
                self.save()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _answer(self, request: Request) -> Answer:
        name, _, rest = request.url.path.lstrip("/").partition("/")
        path = f"/{rest}"
        if path in ("/healthz", "/healthz/readiness") and (name in self.world.instances):
            return api.reply({"status": "ok"})
        instance = self.world.instances.get(name)
        if instance is None:
            return api.message(404, "not found")
        body = await request.body()
        fault = next((fault for fault in instance.faults.values() if fault.fires(request.method, path)), None)
        try:
            answer = await self._with_fault(instance, request, path, body, fault)
        except Dropped:
            _record(instance, request.method, path, 0, fault)
            raise
        answer = _conditional(request, answer)
        _record(instance, request.method, path, answer.status, fault)
        return answer

    async def _with_fault(
        self, instance: Instance, request: Request, path: str, body: bytes, fault: Fault | None
    ) -> Answer:
        if fault is None or fault.kind not in _INSTEAD:
            return await _handle_with(fault, instance, request, path, body)
        if fault.kind in ("status", "html"):
            return _refusal(fault)
        if fault.kind == "partial":
            return _partial(instance, request, path, body, str(fault.params["mode"]))
        if fault.kind == "stall":
            await asyncio.sleep(float(fault.params.get("seconds", 60)))
        raise Dropped


#: Faults after which the call is not handled as usual.
_INSTEAD = frozenset({"status", "html", "stall", "drop_before", "partial"})


async def _handle_with(fault: Fault | None, instance: Instance, request: Request, path: str, body: bytes) -> Answer:
    """The usual answer, with what a fault does before and after."""
    if fault is None:
        return _handle(instance, request, path, body)
    if fault.kind == "latency":
        await asyncio.sleep(float(fault.params.get("seconds", 1)))
    elif fault.kind == "edit_before":
        _edit(instance, path, fault.params)
    answer = _handle(instance, request, path, body)
    if fault.kind == "drop_after":
        raise Dropped
    if fault.kind == "edit_after":
        _edit(instance, path, fault.params)
    elif fault.kind == "status_after":
        return _refusal(fault)
    elif fault.kind == "garbage":
        return Answer(200, answer.body[: max(1, len(answer.body) // 2)])
    return answer


def _conditional(request: Request, answer: Answer) -> Answer:
    """With its ETag; without a body where the caller has it already."""
    if not answer.content_type.startswith(("application/json", "text/yaml")):
        return answer
    tag = etag(answer.body)
    tagged = dataclasses.replace(answer, headers=(*answer.headers, ("etag", tag)))
    if request.method == "GET" and answer.status == 200 and request.headers.get("if-none-match") == tag:
        return dataclasses.replace(tagged, status=304, body=b"")
    return tagged


def _response(answer: Answer) -> Response:
    headers = dict(answer.headers)
    if answer.status != 304:
        headers["content-type"] = answer.content_type
    return Response(answer.body, status_code=answer.status, headers=headers)


def _record(instance: Instance, method: str, path: str, status: int, fault: Fault | None) -> None:
    if len(instance.calls) >= MAX_CALLS:
        del instance.calls[: MAX_CALLS // 2]
    instance.calls.append(Call(method, path, status, fault.kind if fault else None))


async def _hang_up(scope: Scope) -> None:
    transport = scope.get(TRANSPORT)
    if transport is not None:
        transport.abort()
        # Let the loop tell the server that the connection is gone, or it would still try to answer.
        await asyncio.sleep(0.01)


def _handle(instance: Instance, request: Request, path: str, body: bytes, *, parsed: Any = None) -> Answer:
    if path.startswith("/webhook/"):
        return _webhook(instance, request, path.removeprefix("/webhook/").strip("/"))
    if path == "/api/v1/openapi.yml":
        return Answer(200, openapi(instance.profile), content_type="text/yaml; charset=utf-8")
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower() or None
    document = parsed
    if document is None and media == "application/json" and body:
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            # As in n8n the body is parsed before anything else is checked, the key included.
            return Answer(500, MALFORMED, content_type="text/html; charset=utf-8")
    if not path.startswith("/api/v1/"):
        return api.message(404, "not found")
    return api.handle(
        instance,
        api.Call(
            method=request.method,
            path=path.removeprefix("/api/v1"),
            query=dict(request.query_params),
            key=request.headers.get("x-n8n-api-key"),
            media=media,
            body=document,
        ),
    )


def _webhook(instance: Instance, request: Request, path: str) -> Answer:
    if request.method == "OPTIONS" and "origin" in request.headers:
        return api.preflight(instance, path)
    return api.webhook(instance, request.method, path)


def _refusal(fault: Fault) -> Answer:
    params = fault.params
    status = int(params.get("status", 500))
    if fault.kind == "html":
        page = f"<!DOCTYPE html>\n<html><head><title>{status}</title></head><body>Gateway says {status}</body></html>"
        return Answer(status, page.encode(), content_type="text/html; charset=utf-8")
    words = {401: "unauthorized", 404: "Not Found", 429: "Too many requests", 500: "Internal Server Error"}
    answer = api.message(status, str(params.get("message", words.get(status, "Service unavailable"))))
    if status == 429 or "retry_after" in params:
        answer.headers = (("retry-after", str(params.get("retry_after", 1))),)
    return answer


def _workflow_in(path: str) -> str | None:
    parts = path.split("/")
    return parts[4] if len(parts) > 4 and parts[3] == "workflows" else None


def _edit(instance: Instance, path: str, params: Mapping[str, Any]) -> None:
    target = params.get("workflow_id") or _workflow_in(path)
    if target in instance.workflows:
        control.edit(instance, target, params)


def _partial(instance: Instance, request: Request, path: str, body: bytes, mode: str) -> Answer:
    """A write that ends half done: what is kept and what is answered depends on the mode."""
    target = instance.workflows.get(_workflow_in(path) or "")
    document = _halved(_parsed(body), target, mode)
    answer = _handle(instance, request, path, body, parsed=document)
    if mode in ("truncated_nodes", "lost_settings"):
        return api.message(500, "Internal Server Error") if answer.status < 400 else answer
    if target is not None and target.id in instance.workflows:
        instance.deactivate(target)
        instance.settle(target)
    if mode == "lost_activation" and answer.status < 400:
        return api.message(400, "The workflow could not be activated")
    return answer


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body) if body else None
    except orjson.JSONDecodeError:
        return None


def _halved(document: Any, target: Workflow | None, mode: str) -> Any:
    """The body of which only a part is kept."""
    if not isinstance(document, dict):
        return document
    if mode == "truncated_nodes" and isinstance(document.get("nodes"), list):
        return {**document, "nodes": document["nodes"][: len(document["nodes"]) // 2]}
    if mode == "lost_settings" and target is not None:
        kept = {key: value for key, value in target.settings.items() if key in ("callerPolicy", "availableInMCP")}
        return {**document, "settings": kept}
    return document
