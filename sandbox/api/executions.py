"""Executions, and the webhooks that cause them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from sandbox.records import now
from sandbox.state import Instance

from .calls import BAD_CURSOR, NOT_FOUND, Answer, Request, cursor_of, message, next_cursor, reply

_SHORT = ("createdAt", "deletedAt", "workflowVersionId", "startedBy")


def list_executions(request: Request) -> Answer:
    cursor, query = cursor_of(request), request.query
    if cursor is None:
        return BAD_CURSOR
    limit = int(cursor.get("limit", query.get("limit", 100)))
    last = int(cursor.get("lastId", 0))
    older = (run for run in reversed(request.instance.executions) if not last or int(run["id"]) < last)
    wanted = [run for run in older if _is_wanted(run, query)]
    page = [{key: value for key, value in run.items() if key not in _SHORT} for run in wanted[:limit]]
    more = len(wanted) > limit
    return reply(
        {"data": page, "nextCursor": next_cursor({"lastId": page[-1]["id"], "limit": limit}) if more else None}
    )


def _is_wanted(run: dict[str, Any], query: Mapping[str, Any]) -> bool:
    if query.get("status", run["status"]) != run["status"]:
        return False
    if query.get("workflowId", run["workflowId"]) != run["workflowId"]:
        return False
    return bool(query.get("startedAfter", "") <= run["startedAt"] <= query.get("startedBefore", "9"))


def _execution(request: Request) -> dict[str, Any] | None:
    return next((run for run in request.instance.executions if run["id"] == request.params["id"]), None)


def get_execution(request: Request) -> Answer:
    run = _execution(request)
    if run is None:
        return NOT_FOUND
    kept = {"startedBy"} if request.instance.profile.strict else {"startedBy", "workflowVersionId"}
    shown = {key: value for key, value in run.items() if key not in kept}
    if request.query.get("includeData") in (None, "false"):
        return reply(shown)
    return reply({**shown, "data": _data(request.instance, run)})


def _data(instance: Instance, run: dict[str, Any]) -> dict[str, Any]:
    """What n8n keeps of a run, no more of it than says which node began it; newer n8n names that node apart."""
    node = run.get("startedBy")
    data: dict[str, Any] = {"version": 1, "startData": {}, "resultData": {"runData": {}}}
    if node:
        data["resultData"]["runData"] = {node: [{"executionIndex": 0, "source": [], "executionTime": 0}]}
        if instance.profile.strict:
            data["executionData"] = {"runtimeData": {"version": 1, "source": "trigger", "triggerNode": {"name": node}}}
    return data


def delete_execution(request: Request) -> Answer:
    run = _execution(request)
    if run is None:
        return NOT_FOUND
    if run["status"] == "running":
        return message(400, "Cannot delete a running execution")
    request.instance.executions.remove(run)
    return reply({key: value for key, value in run.items() if key != "startedBy"})


def retry_execution(request: Request) -> Answer:
    """Run it again: with the content of then, or with what is saved now."""
    instance, newer = request.instance, request.instance.profile.strict
    run = _execution(request)
    if run is None:
        return (
            message(404, f'The execution with the ID "{request.params["id"]}" does not exist.') if newer else NOT_FOUND
        )
    if run["status"] == "success":
        return message(409, "The execution succeeded, so it cannot be retried.")
    workflow = instance.workflows[run["workflowId"]]
    saved_now = workflow.nodes if (request.body or {}).get("loadWorkflow") else None
    status = "error" if instance.missing_references(workflow, saved_now) else "success"
    again = instance.run(workflow.id, status=status, mode="retry")
    again["retryOf"] = run["id"]
    if status == "success":
        run["retrySuccessId"] = again["id"]
    if saved_now is not None:
        again["workflowVersionId"] = workflow.version
    shown = ("id", "mode", "startedAt", "workflowId", "finished", "retryOf", "status")
    return reply({key: again[key] for key in shown} | {"data": {"version": 1, "startData": {}, "resultData": {}}})


def stop_execution(request: Request) -> Answer:
    run = _execution(request)
    if run is None:
        return message(404, "Failed to find execution to stop")
    if run["status"] not in ("running", "waiting"):
        words = f"Only running or waiting executions can be stopped and {run['id']} is currently {run['status']}"
        return message(409, words)
    run |= {"status": "canceled", "finished": False, "stoppedAt": now()}
    return reply({key: run[key] for key in ("mode", "startedAt", "stoppedAt", "finished", "status")})


def preflight(instance: Instance, path: str) -> Answer:
    """The browser's question before a call to another site: which methods are registered there. Nothing runs."""
    instance.tick()
    methods = sorted({"OPTIONS", *(method for method, hooked in instance.webhooks if hooked == path)})
    return Answer(204, b"", headers=(("access-control-allow-methods", ", ".join(methods)),))


def webhook(instance: Instance, method: str, path: str) -> Answer:
    """What a production webhook answers, and the execution it leaves behind."""
    instance.tick()
    hook = instance.webhooks.get((method, path))
    if hook is None:
        return _not_registered(instance, method, path)
    workflow_id, name = hook
    workflow = instance.workflows[workflow_id]
    nodes: list[dict[str, Any]] = orjson.loads(workflow.running.nodes) if workflow.running else []
    node = next((node for node in nodes if node.get("name") == name), None)
    if node is None:
        return reply({"code": 0, "message": "Cannot read properties of null (reading 'disabled')"}, 500)
    if not _can_authenticate(instance, node):
        return Answer(500, b"No authentication data defined on node!", content_type="text/plain")
    instance.run(workflow.id, status="error" if instance.missing_references(workflow) else "success", mode="webhook")
    return message(200, "Workflow was started")


def _not_registered(instance: Instance, method: str, path: str) -> Answer:
    others = sorted(known for known, hooked in instance.webhooks if hooked == path)
    if not others:
        return reply({"code": 404, "message": f'The requested webhook "{method} {path}" is not registered.'}, 404)
    several = [", ".join(others[:-1]), others[-1]] if len(others) > 1 else others
    text = f"This webhook is not registered for {method} requests. Did you mean to make a"
    return reply({"code": 404, "message": f"{text} {' or '.join(several)} request?"}, 404)


def _can_authenticate(instance: Instance, node: Mapping[str, Any]) -> bool:
    """Whether a webhook that asks its callers to sign in has a credential to check them by."""
    if (node.get("parameters") or {}).get("authentication", "none") == "none":
        return True
    references = (node.get("credentials") or {}).values()
    return any(ref.get("id") in instance.credentials for ref in references if isinstance(ref, dict))
