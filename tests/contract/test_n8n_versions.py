"""What came with newer versions of n8n: drafts, publishing by version, what is put away, scopes, data tables.

A question of the `newest` or of those that are `drafting` is not asked of versions without it: see `conftest.py`.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from .conftest import Target, called, caller_of, chain, eventually, manual, node, unique, webhook

STEP = node("Step", "noOp")
OTHER = node("Other", "noOp")


def error(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["message"]


# Drafts and versions ---------------------------------------------------------------------------------------------


def test_what_the_editor_saves_stays_behind_what_runs(drafting: Target) -> None:
    path, drafted = unique(), unique()
    made = drafting.live(path)
    drafting.save_draft(made, webhook(drafted))
    seen = drafting.get(made["id"])
    assert seen["active"] is True
    assert seen["activeVersionId"] == made["versionId"] != seen["versionId"]
    assert seen["nodes"][0]["parameters"]["path"] == drafted
    assert seen["activeVersion"]["nodes"][0]["parameters"]["path"] == path
    assert drafting.answers(path)
    assert drafting.answers(drafted, 404)


def test_activate_with_a_version_id_publishes_that_version_and_leaves_the_draft(drafting: Target) -> None:
    first = drafting.live(unique())
    second = drafting.put(first["id"], webhook()).json()
    drafting.activate(first["id"], versionId=first["versionId"])
    seen = drafting.get(first["id"])
    assert (seen["activeVersionId"], seen["versionId"]) == (first["versionId"], second["versionId"])


def test_a_put_can_leave_its_content_beside_what_runs(newest: Target) -> None:
    path, staged = unique(), unique()
    made = newest.live(path)
    answer = newest.put(made["id"], webhook(staged), query="?publishIfActive=false").json()
    assert (answer["active"], answer["activeVersionId"]) == (True, made["versionId"])
    assert answer["versionId"] != made["versionId"]
    assert newest.answers(path)
    assert newest.answers(staged, 404)
    newest.post(made["id"], "publish", versionId=answer["versionId"])
    assert newest.answers(staged)
    assert newest.answers(path, 404)
    newest.post(made["id"], "publish", versionId=made["versionId"])
    assert newest.answers(path)
    after = newest.get(made["id"])
    assert (after["activeVersionId"], after["versionId"]) == (made["versionId"], answer["versionId"])


def test_staging_on_an_unpublished_workflow_publishes_nothing(newest: Target) -> None:
    made = newest.create(webhook())
    answer = newest.put(made["id"], webhook(), query="?publishIfActive=false")
    assert answer.status_code == 200
    assert answer.json()["active"] is False
    wrong = newest.put(made["id"], webhook(), query="?publishIfActive=maybe")
    assert wrong.status_code == 400
    assert "Expected 'true' | 'false', received 'maybe'" in wrong.json()["message"]


def test_a_publication_carries_a_name_and_a_description_into_the_history(newest: Target) -> None:
    made = newest.create(webhook())
    answer = newest.post(made["id"], "publish", versionId=made["versionId"], name="Release 1", description="why").json()
    assert (answer["active"], answer["activeVersionId"]) == (True, made["versionId"])
    version = answer["activeVersion"]
    assert (version["name"], version["description"], version["autosaved"]) == ("Release 1", "why", False)
    later = newest.put(made["id"], webhook(), query="?publishIfActive=false").json()
    history = newest.api.get(f"/workflows/{made['id']}/history").json()
    assert [item["versionId"] for item in history["data"]] == [later["versionId"], made["versionId"]]
    assert [item["name"] for item in history["data"]] == [None, "Release 1"]
    assert {item["authors"] for item in history["data"]} == {"Olive Owner"}
    assert "nodes" not in history["data"][0]
    one = newest.api.get(f"/workflows/{made['id']}/versions/{made['versionId']}").json()
    assert (one["nodes"], one["name"]) == (made["nodes"], "Release 1")
    assert newest.api.get(f"/workflows/{made['id']}/{made['versionId']}").json()["nodes"] == made["nodes"]


def test_unknown_versions_and_workflows(newest: Target) -> None:
    made = newest.create(webhook())
    assert error(newest.post(made["id"], "publish", versionId="nope")) == (404, "Version not found")
    assert error(newest.api.get(f"/workflows/{made['id']}/versions/nope")) == (404, "Version not found")
    assert error(newest.api.get("/workflows/nope/history")) == (404, "Not Found")
    for verb, word in (("publish", "activate"), ("unpublish", "deactivate")):
        assert error(newest.post("nope", verb)) == (404, newest.rules.unknown_workflow.format(word))
    for verb in ("archive", "unarchive"):
        assert error(newest.post("nope", verb)) == (404, "Workflow not found")


def test_unpublishing_twice_is_harmless(newest: Target) -> None:
    made = newest.create(webhook())
    for _ in range(2):
        answer = newest.post(made["id"], "unpublish")
        assert (answer.status_code, answer.json()["active"]) == (200, False)


# What may be published -------------------------------------------------------------------------------------------


def test_a_caller_waits_for_what_it_calls(n8n: Target) -> None:
    sub = n8n.create(called(), STEP, connections=chain(called(), STEP), name="Sub")
    hook = webhook()
    caller = n8n.create(hook, caller_of(sub["id"]), connections=chain(hook, caller_of(sub["id"])))
    answer = n8n.post(caller["id"], "activate")
    if not n8n.rules.callees_must_be_published:
        assert answer.status_code == 200
        return
    words = f'Cannot publish workflow: Node "Calls" references workflow {sub["id"]} ("Sub") which is not published.'
    assert error(answer) == (400, f"{words} Please publish all referenced sub-workflows first.")
    n8n.activate(sub["id"])
    n8n.activate(caller["id"])
    assert n8n.post(sub["id"], "deactivate").status_code == 200, "nobody is asked when it is unpublished again"


def test_a_called_workflow_that_does_not_exist(newest: Target) -> None:
    caller = newest.create(webhook(), caller_of("nope"))
    words = 'Cannot publish workflow: Node "Calls" references workflow nope which is not published.'
    assert error(newest.post(caller["id"], "publish"))[1].startswith(words)


@pytest.mark.parametrize("kind", ["disabled", "expression", "tool", "error workflow", "itself"])
def test_n8n_looks_at_direct_calls_alone(newest: Target, kind: str) -> None:
    sub = newest.create(called(), name="Sub")
    other, settings = STEP, {}
    if kind == "disabled":
        other = caller_of(sub["id"], disabled=True)
    elif kind == "expression":
        other = caller_of("={{ 'x' }}")
    elif kind == "tool":
        target = {"__rl": True, "value": sub["id"], "mode": "list"}
        other = node("Tool", "@n8n/n8n-nodes-langchain.toolWorkflow", 2, workflowId=target)
    elif kind == "error workflow":
        settings = {"errorWorkflow": sub["id"]}
    hook = webhook()
    made = newest.create(hook, other, settings=settings)
    if kind == "itself":
        newest.put(made["id"], hook, caller_of(made["id"]))
    assert newest.post(made["id"], "publish").status_code == 200


def test_a_put_that_may_not_be_published_is_kept_as_a_draft(newest: Target) -> None:
    sub, hook = newest.create(called(), name="Sub"), webhook()
    made = newest.create(hook)
    newest.activate(made["id"])
    refused = newest.put(made["id"], hook, caller_of(sub["id"]))
    assert refused.status_code == 400
    seen = newest.get(made["id"])
    assert (len(seen["nodes"]), len(seen["activeVersion"]["nodes"])) == (2, 1)
    assert newest.put(made["id"], hook, caller_of(sub["id"]), query="?publishIfActive=false").status_code == 200


def test_a_required_parameter_that_is_missing_stops_publishing_where_the_node_is_reached(newest: Target) -> None:
    hook, ask = webhook(), node("Ask", "httpRequest", 4.2, options={})
    made = newest.create(hook, ask, connections=chain(hook, ask))
    words = 'Cannot publish workflow: 1 node have configuration issues:\n\nNode "Ask":\n'
    expected = f"{words}  - Missing or invalid required parameters: url"
    assert error(newest.post(made["id"], "publish")) == (400, expected)
    newest.put(made["id"], hook, ask)
    assert newest.post(made["id"], "publish").status_code == 200


def test_two_that_are_published_at_once_share_a_path_and_only_one_answers(newest: Target) -> None:
    path = unique()
    first, last = newest.create(webhook(path)), newest.create(webhook(path))
    answers = [newest.post(made["id"], "publish") for made in (first, last)]
    if answers[1].status_code == 409:
        pytest.skip("the first was registered before the second was asked")
    assert newest.answers(path)
    assert all(newest.get(made["id"])["active"] for made in (first, last))

    def answered() -> list[str]:
        asked = {made["id"]: newest.api.get("/executions", params={"workflowId": made["id"]}) for made in (first, last)}
        return [ident for ident, answer in asked.items() if answer.json()["data"]]

    assert len(eventually(answered, bool)) == 1


def test_active_proves_nothing_of_a_trigger(newest: Target) -> None:
    """A schedule that is none: n8n says that it is published, and counts no trigger."""
    rule = {"interval": [{"field": "cronExpression", "expression": "not a cron"}]}
    made = newest.create(node("Never", "scheduleTrigger", 1.2, rule=rule))
    answer = newest.post(made["id"], "publish")
    assert (answer.status_code, answer.json()["active"]) == (200, True)
    seen = newest.get(made["id"])
    assert (seen["active"], seen["triggerCount"]) == (True, 0)


def test_a_request_with_another_method_tells_which_are_registered(n8n: Target) -> None:
    path = unique()
    n8n.live(path)
    answer = n8n.plain.get(f"/webhook/{path}")
    words = "This webhook is not registered for GET requests. Did you mean to make a POST request?"
    assert error(answer) == (404, words)
    nobody = n8n.plain.get("/webhook/nobody")
    assert error(nobody) == (404, 'The requested webhook "GET nobody" is not registered.')


def test_the_question_of_browsers_tells_the_methods_and_starts_nothing(n8n: Target) -> None:
    path = unique()
    made = n8n.live(path)

    def methods(asked: str) -> str:
        answer = n8n.plain.request("OPTIONS", f"/webhook/{asked}", headers={"Origin": "https://elsewhere.example"})
        return str(answer.headers["access-control-allow-methods"])

    assert eventually(lambda: methods(path), lambda told: told != "OPTIONS") == "OPTIONS, POST"
    assert methods("nobody") == "OPTIONS"
    asked = n8n.api.get("/executions", params={"workflowId": made["id"]}).json()["data"]
    assert [run["mode"] for run in asked].count("webhook") <= 1, "one call may have come from making it live"


@pytest.mark.parametrize("name", ["Hook", "My hook"])
def test_a_webhook_without_an_id_of_its_own(n8n: Target, name: str) -> None:
    path = unique()
    bare = {key: value for key, value in webhook(path).items() if key != "webhookId"} | {"name": name}
    made = n8n.create(bare)
    n8n.activate(made["id"])
    (held,) = n8n.get(made["id"])["nodes"]
    assert bool(held.get("webhookId")) is n8n.rules.gives_webhook_ids
    # Kept with the name escaped, so a caller has to escape it twice.
    by_place = f"{made['id']}/{quote(quote(name.lower()))}/{path}"
    own, other = (path, by_place) if n8n.rules.gives_webhook_ids else (by_place, path)
    assert n8n.answers(own)
    assert n8n.answers(other, 404)


def test_several_methods_are_all_named(newest: Target) -> None:
    path = unique()
    hook = webhook(path)
    hook["parameters"] |= {"multipleMethods": True, "httpMethod": ["GET", "POST"]}
    made = newest.create(hook)
    newest.activate(made["id"])
    assert newest.answers(path)
    assert (
        newest.plain.put(f"/webhook/{path}").json()["message"].endswith("Did you mean to make a GET or POST request?")
    )


# Deleting and putting away ---------------------------------------------------------------------------------------


def test_a_published_workflow_is_deleted_or_refused(n8n: Target) -> None:
    made = n8n.live(unique())
    answer = n8n.api.delete(f"/workflows/{made['id']}")
    if not n8n.rules.publishes_later:
        assert answer.status_code == 200
        return
    assert error(answer) == (409, "Cannot delete a published workflow. Unpublish it before deleting.")
    n8n.post(made["id"], "unpublish")
    answer = n8n.api.delete(f"/workflows/{made['id']}")
    if answer.status_code != 200:
        assert error(answer) == (409, "Workflow is still being unpublished. Please try again in a few moments.")
        answer = eventually(lambda: n8n.api.delete(f"/workflows/{made['id']}"), lambda found: found.status_code == 200)
    assert answer.json()["id"] == made["id"]


def test_what_is_put_away_is_unpublished_and_stays_so(newest: Target) -> None:
    path = unique()
    made = newest.live(path)
    away = newest.post(made["id"], "archive").json()
    assert (away["isArchived"], away["active"], away["activeVersionId"]) == (True, False, None)
    assert newest.answers(path, 404)
    listed = newest.api.get("/workflows", params={"name": made["name"], "limit": 250}).json()["data"]
    assert [item["isArchived"] for item in listed if item["id"] == made["id"]] == [True]
    refused = "Cannot update an archived workflow."
    assert error(newest.put(made["id"], webhook())) == (400, refused)
    assert error(newest.put(made["id"], webhook(), query="?publishIfActive=false")) == (400, refused)
    for verb in ("publish", "activate"):
        assert error(newest.post(made["id"], verb)) == (400, "Cannot activate an archived workflow.")
    assert newest.post(made["id"], "archive").status_code == 200, "a second time is harmless"
    back = newest.post(made["id"], "unarchive").json()
    assert (back["isArchived"], back["active"]) == (False, False)
    assert error(newest.post(made["id"], "unarchive")) == (400, "Workflow is not archived.")
    assert newest.put(made["id"], webhook()).status_code == 200


def test_putting_away_makes_a_version_of_the_same_content(newest: Target) -> None:
    made = newest.create(webhook())
    newest.post(made["id"], "archive")
    away = newest.get(made["id"])
    newest.post(made["id"], "unarchive")
    back = newest.get(made["id"])
    assert len({made["versionId"], away["versionId"], back["versionId"]}) == 3
    assert made["nodes"] == away["nodes"] == back["nodes"]


# Structure and groups --------------------------------------------------------------------------------------------


def body(*nodes: Any, **fields: Any) -> dict[str, Any]:
    return {"name": "Structure", "nodes": list(nodes), "connections": {}, "settings": {}, **fields}


TO_NOWHERE = {"Manual": {"main": [[{"node": "Gone", "type": "main", "index": 0}]]}}
FROM_NOWHERE = {"Gone": {"main": [[{"node": "Manual", "type": "main", "index": 0}]]}}


@pytest.mark.parametrize(
    ("sent", "complaint"),
    [
        (
            body(manual(), connections=TO_NOWHERE),
            "connections.Manual.main[0][0].node (unknown_connection_target):"
            ' Connection target "Gone" does not reference an existing node',
        ),
        (
            body(manual(), connections=FROM_NOWHERE),
            "connections.Gone (unknown_connection_source):"
            ' Connection source "Gone" does not reference an existing node',
        ),
        (
            body(manual(), {**manual(), "id": "another"}),
            'nodes[1].name (duplicate_node_name): Duplicate node name "Manual"',
        ),
        (
            body(manual(), {**STEP, "id": "manual"}),
            'nodes[1].id (duplicate_node_id): Nodes "Manual" and "Step" share the node ID "manual"',
        ),
        (
            body({**manual(), "name": ""}),
            "nodes[0].name (too_small): String must contain at least 1 character(s)",
        ),
        (
            body({key: value for key, value in manual().items() if key != "position"}),
            "nodes[0].position (invalid_type): Required",
        ),
    ],
    ids=["to nowhere", "from nowhere", "same name", "same id", "no name", "no position"],
)
def test_structure_is_checked_before_anything_is_stored(n8n: Target, sent: dict[str, Any], complaint: str) -> None:
    made = n8n.create(manual())
    answers = (n8n.api.post("/workflows", json=sent), n8n.api.put(f"/workflows/{made['id']}", json=sent))
    if n8n.rules.structure_is_checked:
        expected = (400, f"Workflow structure is invalid. {complaint}")
        assert [error(answer) for answer in answers] == [expected, expected]
        assert n8n.get(made["id"])["name"] == made["name"]


def test_groups_of_nodes_are_kept_and_guard_their_members(newest: Target) -> None:
    group = {"id": "g1", "name": "Group", "nodeIds": [STEP["id"], OTHER["id"]]}
    nodes = (manual(), STEP, OTHER)
    made = newest.create(*nodes, nodeGroups=[group], connections=chain(*nodes))
    assert made["nodeGroups"] == [group]
    lost = f'Group "Group" references node ID "{STEP["id"]}" that does not exist in the workflow.'
    assert error(newest.put(made["id"], manual())) == (400, lost)
    apart = newest.put(made["id"], *nodes)
    words = 'Node group "Group" must form a single connected subgraph with a single entry and exit'
    assert error(apart) == (400, f'{words} (no path from "Step" to "Other").')
    assert newest.put(made["id"], *nodes, connections=chain(*nodes)).status_code == 200
    assert newest.get(made["id"])["nodeGroups"] == [group], "left out, they stay"
    assert newest.put(made["id"], manual(), nodeGroups=[]).json()["nodeGroups"] == []


@pytest.mark.parametrize(
    ("groups", "complaint"),
    [
        ([{"id": "g", "name": "A", "nodeIds": []}], 'Group "A" has no members.'),
        (
            [{"id": "g", "name": "A", "nodeIds": ["manual"]}],
            'Node group "A" cannot contain trigger nodes: Manual.',
        ),
        (
            [{"id": "g", "name": "A", "nodeIds": ["id-Step"]}, {"id": "g", "name": "B", "nodeIds": ["id-Step"]}],
            'Duplicate node group ID "g".',
        ),
        (
            [{"id": "g", "name": "A", "nodeIds": ["id-Step"]}, {"id": "h", "name": "B", "nodeIds": ["id-Step"]}],
            'Node "Step" belongs to multiple groups: "A" and "B".',
        ),
    ],
    ids=["empty", "trigger", "same id", "shared node"],
)
def test_groups_that_make_no_sense_are_refused(newest: Target, groups: list[Any], complaint: str) -> None:
    answer = newest.api.post("/workflows", json=body(manual(), STEP, nodeGroups=groups))
    assert error(answer) == (400, complaint)


# What a write takes and leaves -----------------------------------------------------------------------------------


def test_what_a_put_leaves_out_stays(newest: Target) -> None:
    made = newest.create(manual())
    pinned = {"Manual": [{"json": {"a": 1}}]}
    newest.put(made["id"], manual(), description="words", pinData=pinned, staticData={"last": 1})
    newest.put(made["id"], manual())
    seen = newest.get(made["id"])
    assert (seen["description"], seen["pinData"], seen["staticData"]) == ("words", pinned, {"last": 1})
    newest.put(made["id"], manual(), pinData=None)
    assert newest.get(made["id"])["pinData"] is None


def test_three_settings_are_taken_and_not_kept(newest: Target) -> None:
    given = {"binaryMode": "separate", "redactionPolicy": "none", "timeSavedMode": "fixed"}
    assert newest.create(manual(), settings=given)["settings"] == {"timeSavedMode": "fixed"}


def test_folders_and_projects_that_are_not_there(newest: Target) -> None:
    answer = newest.api.post("/workflows", json=body(parentFolderId="nope"))
    assert error(answer) == (404, "Could not find the folder: nope")
    assert error(newest.api.post("/workflows", json=body(projectId="nope"))) == (404, "Project not found")
    made = newest.create(manual())
    assert error(newest.put(made["id"], manual(), parentFolderId="x")) == (404, "Could not find the folder: x")
    project = newest.get(made["id"])["shared"][0]["projectId"]
    for answer in (
        newest.api.get(f"/projects/{project}/folders"),
        newest.api.post(f"/projects/{project}/folders", json={"name": "f"}),
    ):
        assert answer.status_code == 403
        assert "Your license does not allow for feat:folders." in answer.json()["message"]


# What a key may do -----------------------------------------------------------------------------------------------

EDITING = ("workflow:read", "workflow:list", "workflow:create", "workflow:update", "workflow:delete")


def test_a_put_without_the_scope_to_publish_is_a_403_and_a_saved_draft(newest: Target) -> None:
    path, drafted = unique(), unique()
    made = newest.live(path)
    with newest.limited_to(*EDITING) as limited:
        sent = body(webhook(drafted))
        answer = limited.put(f"/workflows/{made['id']}", json=sent)
        seen = newest.get(made["id"])
        words = "Your change was saved as a draft. It wasn't published because this API key does not have the"
        assert error(answer) == (403, f"{words} workflow:activate scope.")
        assert answer.json()["reason"] == "insufficient_api_key_scope"
        assert answer.json()["versionId"] == seen["versionId"] != seen["activeVersionId"] == made["versionId"]
        assert seen["nodes"][0]["parameters"]["path"] == drafted
        assert limited.put(f"/workflows/{made['id']}?publishIfActive=false", json=sent).status_code == 200
        for verb in ("publish", "unpublish", "activate"):
            assert error(limited.post(f"/workflows/{made['id']}/{verb}")) == (403, "Forbidden")
        assert limited.post(f"/workflows/{made['id']}/archive").status_code == 200, "deleting and this are one scope"
    assert newest.answers(path, 404)


def test_a_key_learns_what_it_may_do(newest: Target) -> None:
    with newest.limited_to(*EDITING) as limited:
        found = limited.get("/discover").json()["data"]
        assert set(found["scopes"]) == set(EDITING)
        workflow = found["resources"]["workflow"]
        assert set(workflow["operations"]) == {"read", "list", "create", "update", "delete"}
        called_so = {(each["method"], each["path"]) for each in workflow["endpoints"]}
        assert ("PUT", "/api/v1/workflows/{workflowId}") in called_so
        assert ("POST", "/api/v1/workflows/{workflowId}/publish") not in called_so
        for path in ("/credentials", "/executions", "/tags", "/data-tables", "/variables", "/projects/x/folders"):
            assert error(limited.get(path)) == (403, "Forbidden")
    whole = set(newest.api.get("/discover").json()["data"]["scopes"])
    assert {"workflow:activate", "workflow:deactivate", "credential:list", "execution:retry"} <= whole


# Around workflows ------------------------------------------------------------------------------------------------


def test_one_credential_and_its_test(newest: Target) -> None:
    sent = {"name": "Basic", "type": "httpBasicAuth", "data": {"user": "a", "password": "b"}}
    made = newest.api.post("/credentials", json=sent).json()
    one = newest.api.get(f"/credentials/{made['id']}").json()
    assert (one["name"], one["type"], one["isResolvable"]) == ("Basic", "httpBasicAuth", False)
    tested = newest.api.post(f"/credentials/{made['id']}/test")
    words = {"status": "Error", "message": "No testing function found for this credential."}
    assert (tested.status_code, tested.json()) == (200, words)
    assert error(newest.api.post("/credentials/nope/test")) == (404, 'Credential with ID "nope" was not found.')
    assert error(newest.api.get("/credentials/nope")) == (404, "Credential not found")
    assert newest.api.patch(f"/credentials/{made['id']}", json={"name": "Renamed"}).json()["name"] == "Renamed"
    chosen = unique("c")[:16]
    assert newest.api.post("/credentials", json={**sent, "id": chosen}).json()["id"] == chosen
    again = newest.api.post("/credentials", json={**sent, "id": chosen})
    assert error(again) == (409, "A credential with this ID already exists")


def test_data_tables_with_columns_and_rows(newest: Target) -> None:
    name = unique("t")
    columns = [{"name": "email", "type": "string"}, {"name": "age", "type": "number"}]
    answer = newest.api.post("/data-tables", json={"name": name, "columns": columns})
    assert answer.status_code == 201
    path = f"/data-tables/{answer.json()['id']}"
    taken = newest.api.post("/data-tables", json={"name": name, "columns": []})
    assert error(taken) == (409, f"Data table with name '{name}' already exists in this project")
    listed = newest.api.get(f"{path}/columns").json()
    assert [(c["name"], c["type"], c["index"]) for c in listed] == [("email", "string", 0), ("age", "number", 1)]
    added = newest.api.post(f"{path}/columns", json={"name": "ok", "type": "boolean"})
    assert (added.status_code, added.json()["index"]) == (201, 2)
    twice = newest.api.post(f"{path}/columns", json={"name": "ok", "type": "boolean"})
    assert error(twice) == (409, f"Data table column with name 'ok' already exists in data table '{name}'")
    odd = newest.api.post(f"{path}/columns", json={"name": "o k", "type": "boolean"})
    assert error(odd) == (400, 'request/body/name must match pattern "^[a-zA-Z][a-zA-Z0-9_]*$"')
    kind = newest.api.post(f"{path}/columns", json={"name": "x", "type": "blob"})
    words = "request/body/type must be equal to one of the allowed values: string, number, boolean, date"
    assert error(kind) == (400, words)
    counted = newest.api.post(f"{path}/rows", json={"data": [{"email": "a@b", "age": 3}]})
    assert counted.json() == {"success": True, "insertedRows": 1}
    unknown = newest.api.post(f"{path}/rows", json={"data": [{"surprise": 1}]})
    assert error(unknown) == (400, "Validation error with data table request: unknown column name 'surprise'")
    (row,) = newest.api.get(f"{path}/rows").json()["data"]
    assert (row["id"], row["email"], row["age"], row["ok"]) == (1, "a@b", 3, None)
    assert path.rpartition("/")[2] in [table["id"] for table in newest.api.get("/data-tables").json()["data"]]
    assert newest.api.patch(path, json={"name": unique("r")}).status_code == 200
    assert newest.api.delete(f"{path}/columns/{listed[0]['id']}").status_code == 204
    assert newest.api.delete(path).status_code == 204
    assert error(newest.api.get(path))[0] == 404
    assert error(newest.api.get("/data-tables/nope"))[0] == 400


def test_community_packages_and_insights(newest: Target) -> None:
    assert newest.api.get("/community-packages").json() == []
    summary = newest.api.get("/insights/summary").json()
    assert summary.keys() == {"total", "failed", "failureRate", "timeSaved", "averageRunTime"}
    assert summary["total"].keys() == {"value", "deviation", "unit"}


def test_an_execution_is_retried_with_what_is_saved_now(newest: Target) -> None:
    path, credential = unique(), {"httpBasicAuth": {"id": "nope", "name": "Nobody's"}}
    hook = webhook(path)
    wrong = {**node("Ask", "httpRequest", 4.2, url="http://127.0.0.1:9/", authentication="genericCredentialType",
                    genericAuthType="httpBasicAuth", options={}), "credentials": credential}  # fmt: skip
    made = newest.create(hook, wrong, connections=chain(hook, wrong))
    newest.activate(made["id"])
    assert newest.answers(path)
    query = {"workflowId": made["id"], "status": "error"}
    (run, *_) = eventually(lambda: newest.api.get("/executions", params=query).json()["data"], bool)
    whole = newest.api.get(f"/executions/{run['id']}").json()
    assert whole["workflowVersionId"] == made["versionId"]
    assert "workflowVersionId" not in run, "the list does not tell"
    newest.put(made["id"], hook, {**STEP, "name": "Ask"}, connections=chain(hook, wrong))
    again = newest.api.post(f"/executions/{run['id']}/retry", json={"loadWorkflow": True}).json()
    assert (again["mode"], again["retryOf"], again["status"]) == ("retry", run["id"], "success")
    assert again["id"] != run["id"]
    refused = newest.api.post(f"/executions/{again['id']}/retry")
    assert error(refused) == (409, "The execution succeeded, so it cannot be retried.")
    assert error(newest.api.post("/executions/999999/retry")) == (
        404,
        'The execution with the ID "999999" does not exist.',
    )
    stopped = newest.api.post(f"/executions/{run['id']}/stop")
    words = f"Only running or waiting executions can be stopped and {run['id']} is currently error"
    assert error(stopped) == (409, words)
    assert error(newest.api.post("/executions/999999/stop")) == (404, "Failed to find execution to stop")
