"""The control API, `/_control/...`: make instances, fill them, break them, look inside. Needs the control token."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from .faults import Fault, FaultError
from .generate import estate
from .profiles import PROFILES
from .records import Workflow
from .rendering import render
from .state import Instance, World

CREATE_OPTIONS = ("api_key", "profile", "owner", "packages")
CHANGE_OPTIONS = ("api_keys", "profile", "packages", "folders", "scopes", "publication_calls")


class ControlError(Exception):
    """What the caller of the control API did wrong."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def _refuse_unknown(body: Mapping[str, Any], known: Collection[str]) -> None:
    """A test that misspells an option would try something else than it says."""
    if unknown := sorted(set(body) - set(known)):
        raise ControlError(400, f"Unknown: {', '.join(unknown)}. Known: {', '.join(sorted(known))}.")


def answer(value: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status_code=status, media_type="application/json")


def edit(instance: Instance, workflow_id: str, change: Mapping[str, Any]) -> dict[str, Any]:
    """Change a workflow as another person would in the editor, past the public API.

    `change` has `changes` (any of name, nodes, connections, settings, staticData, pinData, description, active, tags;
    settings are merged; also nodeGroups, archived and folder), `draft` (true: what is live stays behind, as the editor
    saves), `author` (who saved it: "First Last"), `deaf` (true: from now on its triggers fail to register, and n8n says
    nothing) or `delete`. Without any of them a parameter of the first node is given a new value, so that the behaviour
    differs.
    """
    workflow = instance.workflows[workflow_id]
    if change.get("delete"):
        instance.remove(workflow)
        return {"id": workflow_id, "deleted": True}
    changes = dict(change.get("changes") or {})
    if "deaf" in change:
        workflow.deaf = bool(change["deaf"])
        instance.settle(workflow)
    elif not changes:
        changes = _some_change(workflow)
    state = {name: changes.pop(name, None) for name in ("active", "tags", "archived")}
    workflow.folder = changes.pop("folder", workflow.folder)
    if changes:
        draft, author = bool(change.get("draft")), str(change.get("author") or "")
        instance.change(workflow, changes, publish=not draft, author=author, autosaved=draft)
    _set_state(instance, workflow, **state)
    if change.get("settle", True):
        instance.settle(workflow)
    return summary(workflow)


def _some_change(workflow: Workflow) -> dict[str, Any]:
    """A change after which the workflow behaves differently."""
    nodes = workflow.node_list()
    if not nodes:
        return {"settings": {"executionTimeout": 60 + workflow.counter}}
    nodes[0].setdefault("parameters", {})["changedElsewhere"] = workflow.counter
    return {"nodes": nodes}


def _set_state(
    instance: Instance, workflow: Workflow, *, active: bool | None, tags: list[str] | None, archived: bool | None
) -> None:
    if archived is not None:
        instance.archive(workflow, bool(archived))
    if tags is not None:
        workflow.tags = [instance.tag_id(name) for name in tags]
    if active is True and instance.activate(workflow):
        # Nothing in it starts by itself; n8n's own migrations publish it all the same.
        instance.go_live(workflow)
    if active is False:
        instance.deactivate(workflow)


def summary(workflow: Workflow) -> dict[str, Any]:
    return {
        "id": workflow.id,
        "name": workflow.name,
        "active": workflow.active,
        "version_id": workflow.version,
        "active_version_id": workflow.live.id if workflow.live else None,
    }


def describe(instance: Instance) -> dict[str, Any]:
    return {
        "name": instance.name,
        "path": f"/{instance.name}",
        "profile": instance.profile.name,
        "n8n_version": instance.profile.n8n_version,
        "api_key": instance.api_keys[0],
        "api_keys": instance.api_keys,
        "workflows": len(instance.workflows),
        "credentials": len(instance.credentials),
        "executions": len(instance.executions),
        "faults": len(instance.faults),
    }


class Control:
    """The calls of the control API, each a small method."""

    def __init__(self, world: World, *, save: Callable[[], bool]) -> None:
        self.world = world
        self.save_state = save

    def _instance(self, request: Request) -> Instance:
        name = request.path_params["name"]
        if name not in self.world.instances:
            raise ControlError(404, f"There is no instance called {name}.")
        return self.world.instances[name]

    def _workflow(self, request: Request) -> tuple[Instance, str]:
        instance, workflow_id = self._instance(request), request.path_params["id"]
        if workflow_id not in instance.workflows:
            raise ControlError(404, f"{instance.name} has no workflow {workflow_id}.")
        return instance, workflow_id

    async def instances(self, request: Request) -> Response:
        return answer([describe(instance) for instance in self.world.instances.values()])

    async def create(self, request: Request) -> Response:
        """{name, api_key?, profile?, owner?: {email, first_name, last_name}, packages?, replace?: bool}"""
        body = await _json(request)
        name = str(body.get("name", ""))
        if not name or "/" in name or name.startswith("_"):
            raise ControlError(400, "name must be a path segment that does not start with '_'.")
        if name in self.world.instances and not body.get("replace"):
            raise ControlError(409, f"There is an instance called {name} already.")
        if body.get("profile", "1.123") not in PROFILES:
            raise ControlError(400, f"profile must be one of {', '.join(PROFILES)}.")
        _refuse_unknown(body, {"name", "replace", *CREATE_OPTIONS})
        options = {key: body[key] for key in CREATE_OPTIONS if body.get(key)}
        return answer(describe(self.world.create(name, **options)), 201)

    async def show(self, request: Request) -> Response:
        return answer(describe(self._instance(request)))

    async def change(self, request: Request) -> Response:
        """{api_keys?, profile?, packages?, folders?: [...], scopes?: {key: [...]}, publication_calls?: number | null}

        Rotate keys, upgrade the instance, say what keys may do (one that is not named: everything), or how many calls
        still see the former state after a publication (null: all, until `settle`).
        """
        instance, body = self._instance(request), await _json(request)
        _refuse_unknown(body, CHANGE_OPTIONS)
        if "profile" in body:
            if body["profile"] not in PROFILES:
                raise ControlError(400, f"profile must be one of {', '.join(PROFILES)}.")
            instance.profile = PROFILES[body["profile"]]
        instance.api_keys = list(body.get("api_keys") or instance.api_keys)
        instance.packages = list(body.get("packages", instance.packages))
        if "scopes" in body:
            instance.scopes = {key: list(scopes) for key, scopes in body["scopes"].items()}
        instance.folders = list(body.get("folders", instance.folders))
        if "publication_calls" in body:
            instance.publication_calls = body["publication_calls"]
        return answer(describe(instance))

    async def delete(self, request: Request) -> Response:
        del self.world.instances[self._instance(request).name]
        return answer({"deleted": True})

    async def seed(self, request: Request) -> Response:
        """{workflows: [...], keep_ids?: bool, activate?: bool | "as_given"} -> the new workflows, in order."""
        instance, body = self._instance(request), await _json(request)
        listed = body.get("workflows") if isinstance(body, dict) else body
        options = body if isinstance(body, dict) else {}
        if not isinstance(listed, list):
            raise ControlError(400, "workflows must be a list.")
        made = []
        for raw in listed:
            wanted = options.get("activate", "as_given")
            active = bool(raw.get("active")) if wanted == "as_given" else bool(wanted)
            kept = raw.get("id") if options.get("keep_ids") else None
            made.append(summary(instance.add(raw, workflow_id=kept, active=active)))
        return answer(made, 201)

    async def generate(self, request: Request) -> Response:
        """{count, size?: bytes, seed?, active_ratio?, pinned_ratio?}: the same arguments make the same content."""
        instance, body = self._instance(request), await _json(request)
        count = int(body.get("count", 100))
        ratio = float(body.get("active_ratio", 0.0))
        pinned = float(body.get("pinned_ratio", 0.1))
        made = estate(count, size=int(body.get("size", 12_000)), seed=int(body.get("seed", 0)), pinned_ratio=pinned)
        ids = [
            instance.add(raw, workflow_id=identity, active=int((n + 1) * ratio) > int(n * ratio)).id
            for n, (identity, raw) in enumerate(made)
        ]
        if "cred-postgres" not in instance.credentials:
            instance.add_credential({"id": "cred-postgres", "name": "Postgres", "type": "postgres"})
        return answer({"count": len(ids), "ids": ids}, 201)

    async def state(self, request: Request) -> Response:
        """Everything an instance holds, as n8n's API would show it."""
        instance = self._instance(request)
        workflows = [orjson.loads(render(instance, instance.workflows[identity])) for identity in instance.order]
        return answer(
            {
                **describe(instance),
                "workflows": workflows,
                "tags": list(instance.tags.values()),
                "credentials": list(instance.credentials.values()),
                "executions": instance.executions,
                "data_tables": list(instance.data_tables.values()),
                "webhooks": [
                    {"method": method, "path": path, "workflow_id": owner}
                    for (method, path), (owner, _) in instance.webhooks.items()
                ],
            }
        )

    async def edit(self, request: Request) -> Response:
        instance, workflow_id = self._workflow(request)
        return answer(edit(instance, workflow_id, await _json(request)))

    async def version(self, request: Request) -> Response:
        """{version_id?, author?, name?, description?, autosaved?}: of one version, by default of what is published."""
        (instance, workflow_id), body = self._workflow(request), await _json(request)
        workflow = instance.workflows[workflow_id]
        wanted = body.get("version_id") or (workflow.live.id if workflow.live else workflow.version)
        found = [v for v in (*workflow.versions, workflow.live, workflow.running) if v is not None and v.id == wanted]
        if not found:
            raise ControlError(404, f"{workflow_id} has no version {wanted}.")
        for each in found:
            for key in ("author", "name", "description", "autosaved"):
                if key in body:
                    setattr(each, key, body[key])
        return answer(summary(workflow))

    async def settle(self, request: Request) -> Response:
        """Let what is published take effect now."""
        instance = self._instance(request)
        for identity in list(instance.pending):
            instance.settle(instance.workflows[identity])
        return answer({"settled": True})

    async def remove(self, request: Request) -> Response:
        instance, workflow_id = self._workflow(request)
        return answer(edit(instance, workflow_id, {"delete": True}))

    async def credentials(self, request: Request) -> Response:
        """[{id?, name, type, test?: {status, message}}, ...]"""
        instance = self._instance(request)
        return answer([instance.add_credential(raw) for raw in await _json(request)], 201)

    async def executions(self, request: Request) -> Response:
        """[{workflow_id, status?, mode?, started?, stopped?, node?, count?}, ...]"""
        instance, made = self._instance(request), []
        for raw in await _json(request):
            for _ in range(int(raw.get("count", 1))):
                made.append(
                    instance.run(
                        raw["workflow_id"],
                        status=raw.get("status", "success"),
                        mode=raw.get("mode", "trigger"),
                        started=raw.get("started"),
                        stopped=raw.get("stopped"),
                        node=raw.get("node"),
                    )
                )
        return answer({"count": len(made), "last_id": made[-1]["id"] if made else None}, 201)

    async def faults(self, request: Request) -> Response:
        return answer([fault.describe() for fault in self._instance(request).faults.values()])

    async def add_faults(self, request: Request) -> Response:
        """One fault, or a list of them: see `faults.py`. Answers with their ids."""
        instance, body = self._instance(request), await _json(request)
        made = []
        for spec in body if isinstance(body, list) else [body]:
            fault = Fault.parse(spec, fault_id=str(instance.next_fault))
            instance.next_fault += 1
            instance.faults[fault.id] = fault
            made.append(fault.describe())
        return answer(made, 201)

    async def clear_faults(self, request: Request) -> Response:
        instance = self._instance(request)
        wanted = request.path_params.get("id")
        if wanted is None:
            instance.faults.clear()
        else:
            instance.faults.pop(wanted, None)
        return answer([fault.describe() for fault in instance.faults.values()])

    async def calls(self, request: Request) -> Response:
        return answer([asdict(call) for call in self._instance(request).calls])

    async def clear_calls(self, request: Request) -> Response:
        self._instance(request).calls.clear()
        return answer([])

    async def reset(self, request: Request) -> Response:
        self.world.instances.clear()
        return answer({"reset": True})

    async def save(self, request: Request) -> Response:
        return answer({"saved": self.save_state()})

    def routes(self) -> list[Route]:
        one = "/_control/instances/{name}"
        return [
            Route("/_control/instances", self.instances, methods=["GET"]),
            Route("/_control/instances", self.create, methods=["POST"]),
            Route(one, self.show, methods=["GET"]),
            Route(one, self.change, methods=["PATCH"]),
            Route(one, self.delete, methods=["DELETE"]),
            Route(f"{one}/seed", self.seed, methods=["POST"]),
            Route(f"{one}/generate", self.generate, methods=["POST"]),
            Route(f"{one}/state", self.state, methods=["GET"]),
            Route(f"{one}/workflows/{{id}}/edit", self.edit, methods=["POST"]),
            Route(f"{one}/workflows/{{id}}/version", self.version, methods=["POST"]),
            Route(f"{one}/workflows/{{id}}", self.remove, methods=["DELETE"]),
            Route(f"{one}/settle", self.settle, methods=["POST"]),
            Route(f"{one}/credentials", self.credentials, methods=["POST"]),
            Route(f"{one}/executions", self.executions, methods=["POST"]),
            Route(f"{one}/faults", self.faults, methods=["GET"]),
            Route(f"{one}/faults", self.add_faults, methods=["POST"]),
            Route(f"{one}/faults", self.clear_faults, methods=["DELETE"]),
            Route(f"{one}/faults/{{id}}", self.clear_faults, methods=["DELETE"]),
            Route(f"{one}/calls", self.calls, methods=["GET"]),
            Route(f"{one}/calls", self.clear_calls, methods=["DELETE"]),
            Route("/_control/reset", self.reset, methods=["POST"]),
            Route("/_control/save", self.save, methods=["POST"]),
        ]


async def _json(request: Request) -> Any:
    try:
        return orjson.loads(await request.body() or b"{}")
    except orjson.JSONDecodeError as error:
        raise ControlError(400, f"The body is not JSON: {error}") from error


def build(world: World, *, token: str, save: Callable[[], bool]) -> ASGIApp:
    """The control application. Every call but `/_control/health` needs `Authorization: Bearer <token>`."""

    async def refused(request: Request, error: Exception) -> Response:
        status = error.status if isinstance(error, ControlError) else 400
        return answer({"error": str(error)}, status)

    inner = Starlette(
        routes=Control(world, save=save).routes(), exception_handlers={ControlError: refused, FaultError: refused}
    )

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/_control/health":
            await answer({"status": "ok", "instances": len(world.instances)})(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), token.encode()):
            await answer({"error": "The control token is missing or wrong."}, 401)(scope, receive, send)
            return
        await inner(scope, receive, send)

    return guarded
