"""What the console relies on in n8n's public API. Each of these holds on a real n8n and on the sandbox alike.

The oldest questions; `test_n8n_versions.py` has those about drafts, publishing and what came with newer versions.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest
import yaml

from .conftest import Target, called, eventually, manual, node, unique, webhook

# The contract itself, and who may ask --------------------------------------------------------------------------


def test_the_contract_is_public_and_tells_what_a_write_may_hold(n8n: Target) -> None:
    answer = n8n.plain.get("/api/v1/openapi.yml")
    assert answer.status_code == 200
    document = yaml.safe_load(answer.text)
    one = f"/workflows/{{{n8n.rules.id_in_paths}}}"
    for operation in (document["paths"]["/workflows"]["post"], document["paths"][one]["put"]):
        workflow = _shape(document, operation["requestBody"]["content"]["application/json"]["schema"])
        assert workflow["required"] == ["name", "nodes", "connections", "settings"]
        assert workflow["additionalProperties"] is False
        writable = {name for name, part in workflow["properties"].items() if not part.get("readOnly")}
        assert {"name", "nodes", "connections", "settings", "staticData"} <= writable
        assert ("pinData" in writable) is n8n.rules.has_pin_data_in_writes
        assert not writable & {"id", "active", "tags", "createdAt", "updatedAt"}
        settings = _shape(document, workflow["properties"]["settings"])
        assert settings["additionalProperties"] is False
        assert {"callerPolicy", "availableInMCP", "errorWorkflow", "timezone"} <= settings["properties"].keys()
    assert ("get" in document["paths"]["/credentials"]) is n8n.rules.lists_credentials


def _shape(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """A schema, described in place or by reference."""
    if "$ref" not in schema:
        return schema
    return dict(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]])


def test_health_is_public(n8n: Target) -> None:
    assert n8n.plain.get("/healthz").json() == {"status": "ok"}


def test_a_wrong_key_and_no_key_are_401(n8n: Target) -> None:
    wrong = n8n.plain.get("/api/v1/workflows", headers={"X-N8N-API-KEY": "wrong"})
    assert (wrong.status_code, wrong.json()) == (401, {"message": n8n.rules.wrong_key})
    missing = n8n.plain.get("/api/v1/workflows")
    assert missing.status_code == 401


@pytest.mark.parametrize("verb", ["GET", "PUT", "DELETE", "activate", "deactivate", "tags"])
def test_an_unknown_id_is_404(n8n: Target, verb: str) -> None:
    words = n8n.rules.unknown_workflow
    if verb == "PUT":
        answer, words = n8n.put("nope", manual()), words.format("update")
    elif verb in ("GET", "DELETE"):
        answer, words = n8n.api.request(verb, "/workflows/nope"), "Not Found"
    elif verb == "tags":
        answer, words = n8n.api.get("/workflows/nope/tags"), "Not Found"
    else:
        answer, words = n8n.api.post(f"/workflows/nope/{verb}"), words.format(verb)
    assert (answer.status_code, answer.json()) == (404, {"message": words})


def test_malformed_json_is_a_500_with_a_page_even_before_the_key_is_looked_at(n8n: Target) -> None:
    for key in (n8n.api.headers["X-N8N-API-KEY"], "wrong"):
        answer = n8n.plain.post(
            "/api/v1/workflows", content=b"{bad", headers={"Content-Type": "application/json", "X-N8N-API-KEY": key}
        )
        assert answer.status_code == 500
        assert answer.headers["content-type"].startswith("text/html")


# The list --------------------------------------------------------------------------------------------------------


def test_a_limit_over_250_is_refused_or_capped(n8n: Target) -> None:
    answer = n8n.api.get("/workflows", params={"limit": 251})
    if n8n.rules.limit_is_capped:
        assert answer.status_code == 200
    else:
        assert (answer.status_code, answer.json()) == (400, {"message": "request/query/limit must be <= 250"})


def test_a_bad_query_is_refused_in_words(n8n: Target) -> None:
    for query, complaint in (
        ("limit=abc", n8n.rules.bad_limit),
        ("cursor=zzz", "An invalid cursor was provided"),
        ("active=maybe", n8n.rules.bad_boolean),
    ):
        answer = n8n.api.get(f"/workflows?{query}")
        assert (answer.status_code, answer.json()) == (400, {"message": complaint})


def test_an_unknown_key_of_the_query_is_refused_or_ignored(n8n: Target) -> None:
    answer = n8n.api.get("/workflows?surprise=1")
    if n8n.rules.ignores_unknown_queries:
        assert answer.status_code == 200
    else:
        assert (answer.status_code, answer.json()) == (400, {"message": "Unknown query parameter 'surprise'"})


def test_the_cursor_walks_every_workflow_once_in_the_order_of_ids(n8n: Target) -> None:
    name = unique("paging")
    made = {n8n.create(manual(), name=name)["id"] for _ in range(5)}
    seen: list[str] = []
    cursor = None
    while True:
        params = {"limit": 2, "name": name} | ({"cursor": cursor} if cursor else {})
        page = n8n.api.get("/workflows", params=params).json()
        seen += [item["id"] for item in page["data"]]
        cursor = page["nextCursor"]
        if cursor is None:
            break
        assert json.loads(base64.b64decode(cursor)) == {"limit": 2, "offset": len(seen)}
    assert seen == sorted(made)


def test_the_list_holds_whole_workflows(n8n: Target) -> None:
    made = n8n.create(webhook(), name=unique("whole"))
    (item,) = n8n.api.get("/workflows", params={"name": made["name"]}).json()["data"]
    assert item["nodes"] == made["nodes"]
    expected = {
        "id",
        "name",
        "active",
        "nodes",
        "connections",
        "settings",
        "staticData",
        "pinData",
        "versionId",
        "tags",
    }
    assert expected <= item.keys()
    assert not {"description", "versionCounter"} & item.keys(), "only one workflow by itself tells these"
    bare = n8n.api.get("/workflows", params={"name": made["name"], "excludePinnedData": "true"}).json()["data"][0]
    assert "pinData" not in bare
    assert "pinData" not in n8n.api.get(f"/workflows/{made['id']}", params={"excludePinnedData": "true"}).json()


def test_an_unchanged_page_is_a_304_without_a_body_and_a_changed_one_is_not(n8n: Target) -> None:
    made = n8n.create(manual(), name=unique("etag"))
    query = {"name": made["name"], "limit": 250}
    first = n8n.api.get("/workflows", params=query)
    again = n8n.api.get("/workflows", params=query, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    n8n.put(made["id"], webhook(), name=made["name"])
    changed = n8n.api.get("/workflows", params=query, headers={"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200
    assert changed.headers["etag"] != first.headers["etag"]


def test_the_list_can_be_narrowed_to_active_ones(n8n: Target) -> None:
    name = unique("narrow")
    asleep, awake = n8n.create(webhook(), name=name)["id"], n8n.create(webhook(), name=name)["id"]
    n8n.api.post(f"/workflows/{awake}/activate")
    for active, expected in (("true", awake), ("false", asleep)):
        found = n8n.api.get("/workflows", params={"name": name.upper(), "active": active}).json()["data"]
        assert [item["id"] for item in found] == [expected]


# Writing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "place"),
    [
        ({"surprise": 1}, ""),
        ({"settings": {"surprise": 1}}, "/settings"),
        ({"nodes": [{"name": "x", "surprise": 1}]}, "/nodes/0"),
    ],
)
def test_a_write_takes_no_key_beyond_the_contract(n8n: Target, extra: dict[str, Any], place: str) -> None:
    assert refusals(n8n, extra) == {n8n.rules.unknown_key.format(place)}


@pytest.mark.parametrize("extra", [{"active": True}, {"id": "chosen"}, {"tags": []}])
def test_a_write_takes_nothing_that_n8n_alone_decides(n8n: Target, extra: dict[str, Any]) -> None:
    (name,) = extra
    assert refusals(n8n, extra) == {f"request/body/{name} is read-only"}


@pytest.mark.parametrize(
    ("extra", "place", "kind"),
    [
        ({"settings": {"timezone": None}}, "/settings/timezone", "string"),
        ({"nodes": {}}, "/nodes", "array"),
        ({"name": 5}, "/name", "string"),
    ],
)
def test_a_write_takes_no_other_types(n8n: Target, extra: dict[str, Any], place: str, kind: str) -> None:
    (words,) = refusals(n8n, extra)
    assert words.startswith(n8n.rules.wrong_type.format(place, kind))


def test_pinned_data_is_taken_where_the_contract_has_it(n8n: Target) -> None:
    body = {"name": "Contract", "nodes": [], "connections": {}, "settings": {}, "pinData": {"A": [{"json": {}}]}}
    answer = n8n.api.post("/workflows", json=body)
    assert answer.is_success is n8n.rules.has_pin_data_in_writes
    if answer.is_success:
        assert n8n.get(answer.json()["id"])["pinData"] == body["pinData"]
    else:
        assert answer.json()["message"] == n8n.rules.unknown_key.format("")


def refusals(n8n: Target, extra: dict[str, Any]) -> set[str]:
    """What POST and PUT say of a body with this in it; both refuse."""
    made = n8n.create(manual())
    body = {"name": "Contract", "nodes": [], "connections": {}, "settings": {}, **extra}
    answers = (n8n.api.post("/workflows", json=body), n8n.api.put(f"/workflows/{made['id']}", json=body))
    assert [answer.status_code for answer in answers] == [400, 400]
    return {answer.json()["message"] for answer in answers}


@pytest.mark.parametrize("missing", ["name", "nodes", "connections", "settings"])
def test_a_write_lacks_nothing_of_the_contract(n8n: Target, missing: str) -> None:
    body = {"name": "Contract", "nodes": [], "connections": {}, "settings": {}}
    del body[missing]
    answer = n8n.api.post("/workflows", json=body)
    words = f"request/body must have required property '{missing}'"
    expected = n8n.rules.lacks_connections if missing == "connections" else words
    assert (answer.status_code, answer.json()["message"]) == (400, expected)


def test_what_get_answers_cannot_be_put_back_as_it_is(n8n: Target) -> None:
    made = n8n.create(manual())
    assert n8n.api.put(f"/workflows/{made['id']}", json=n8n.get(made["id"])).status_code == 400


def test_create_starts_inactive_with_the_settings_of_its_version(n8n: Target) -> None:
    made = n8n.create(manual())
    assert made["settings"] == n8n.rules.settings_on_create
    assert made["active"] is False


def test_names_may_repeat(n8n: Target) -> None:
    first, second = n8n.create(manual(), name="Twin"), n8n.create(manual(), name="Twin")
    assert first["id"] != second["id"]


@pytest.mark.parametrize("length", [0, 1, 128, 129])
def test_names_have_1_to_128_characters_where_n8n_looks(n8n: Target, length: int) -> None:
    if length > 128 and not n8n.rules.names_are_checked:
        pytest.skip("longer ones fail in the database")
    made = n8n.create(manual())
    body = {"name": "n" * length, "nodes": [], "connections": {}, "settings": {}}
    created, changed = n8n.api.post("/workflows", json=body), n8n.api.put(f"/workflows/{made['id']}", json=body)
    refused = {"message": "Workflow name must be 1 to 128 characters long."}
    if n8n.rules.names_are_checked and not 1 <= length <= 128:
        assert (created.status_code, created.json()) == (400, refused)
    else:
        assert created.status_code == 200
    if length > 128:
        assert (changed.status_code, changed.json()) == (400, refused)
    else:
        assert changed.json()["name"] == "n" * length, "a name can be taken away everywhere"


def test_an_identical_put_keeps_the_version_id_from_2_0_on(n8n: Target) -> None:
    made = n8n.create(webhook())
    after = n8n.put(made["id"], *made["nodes"]).json()
    assert (after["versionId"] == made["versionId"]) is n8n.rules.identical_put_keeps_version
    settings = n8n.put(made["id"], *made["nodes"], settings={"executionTimeout": 60}).json()
    assert (settings["versionId"] == after["versionId"]) is n8n.rules.identical_put_keeps_version
    content = n8n.put(made["id"], webhook()).json()
    assert content["versionId"] != settings["versionId"]


def test_put_merges_settings(n8n: Target) -> None:
    """Where create adds two of its own, a PUT that leaves them out resets them, and them alone."""
    before = {"timezone": "Europe/Berlin", "callerPolicy": "any", "availableInMCP": True}
    made = n8n.create(manual(), settings=before)
    after = n8n.put(made["id"], manual(), settings={"executionTimeout": 60}).json()["settings"]
    assert after == {**before, "executionTimeout": 60, **(n8n.rules.settings_on_create or {})}


def test_two_settings_can_be_taken_back_by_sending_their_default(n8n: Target) -> None:
    made = n8n.create(manual(), settings={"timezone": "Europe/Berlin", "executionTimeout": 60, "errorWorkflow": "x"})
    wanted = {"timezone": "DEFAULT", "executionTimeout": -1, "errorWorkflow": ""}
    after = n8n.put(made["id"], manual(), settings=wanted).json()["settings"]
    assert after == {"errorWorkflow": "", **(n8n.rules.settings_on_create or {})}


def test_static_data_left_out_of_a_put_stays(n8n: Target) -> None:
    made = n8n.create(manual(), staticData={"lastId": 7})
    n8n.put(made["id"], manual())
    assert n8n.get(made["id"])["staticData"] == {"lastId": 7}


def test_nodes_without_an_id_are_given_one_and_ids_are_kept(n8n: Target) -> None:
    bare = {key: value for key, value in manual().items() if key != "id"}
    made = n8n.create(bare)
    assert made["nodes"][0]["id"]
    assert n8n.create(manual())["nodes"][0]["id"] == "manual"


def test_a_credential_that_does_not_exist_is_accepted_without_a_word(n8n: Target) -> None:
    node = webhook(credentials={"httpBasicAuth": {"id": "nope", "name": "Nobody's"}})
    made = n8n.create(node)
    n8n.activate(made["id"])
    assert n8n.get(made["id"])["nodes"][0]["credentials"] == {"httpBasicAuth": {"id": "nope", "name": "Nobody's"}}


def test_a_workflow_names_people(n8n: Target) -> None:
    project = n8n.get(n8n.create(manual())["id"])["shared"][0]["project"]
    assert "@" in project["name"]
    assert ("projectRelations" in project) is n8n.rules.names_people_in_workflows
    if n8n.rules.names_people_in_workflows:
        assert "@" in project["projectRelations"][0]["user"]["email"]


def test_a_deleted_workflow_is_gone(n8n: Target) -> None:
    made = n8n.create(manual())
    assert n8n.api.delete(f"/workflows/{made['id']}").json()["id"] == made["id"]
    assert n8n.api.get(f"/workflows/{made['id']}").status_code == 404


# Activation ------------------------------------------------------------------------------------------------------


def test_activation_publishes_and_the_webhook_answers(n8n: Target) -> None:
    path = unique()
    made = n8n.create(webhook(path))
    assert n8n.plain.post(f"/webhook/{path}").status_code == 404
    answer = n8n.activate(made["id"])
    assert answer["active"] is True
    assert answer["activeVersionId"] == answer["versionId"]
    assert answer["activeVersion"]["nodes"] == made["nodes"]
    assert n8n.answers(path)
    n8n.activate(made["id"])  # a second time is harmless
    assert n8n.post(made["id"], "deactivate").json()["active"] is False
    assert n8n.answers(path, 404)


def test_put_on_an_active_workflow_goes_live(n8n: Target) -> None:
    before, after = unique(), unique()
    made = n8n.live(before)
    answer = n8n.put(made["id"], webhook(after)).json()
    assert answer["active"] is True
    assert answer["activeVersionId"] == answer["versionId"]
    assert n8n.answers(after)
    assert n8n.answers(before, 404)


def test_put_that_cannot_be_published_is_a_400_and_has_written_all_the_same(n8n: Target) -> None:
    path = unique()
    made = n8n.live(path)
    before = n8n.get(made["id"])
    assert n8n.put(made["id"], manual(), name="Renamed").status_code == 400
    after = n8n.get(made["id"])
    assert after["name"] == "Renamed"
    assert [node["type"] for node in after["nodes"]] == ["n8n-nodes-base.manualTrigger"]
    if n8n.rules.refused_put == "keeps":
        assert (after["active"], after["activeVersionId"]) == (True, before["versionId"])
        assert after["versionId"] != before["versionId"]
        assert n8n.answers(path)
    elif n8n.rules.refused_put == "breaks":
        assert after["active"] is True
        assert after["activeVersionId"] == after["versionId"] != before["versionId"], "published, though refused"
        assert n8n.answers(path, 500)
        n8n.activate(made["id"], versionId=before["versionId"])
        assert n8n.answers(path), "the way back"
    else:
        assert (after["active"], after["activeVersionId"]) == (False, None)
        assert after["versionId"] == before["versionId"], "new content under the old version id"
        assert n8n.answers(path, 404)


@pytest.mark.parametrize("kind", ["manualTrigger", "disabled webhook", "no nodes"])
def test_a_workflow_that_nothing_starts_cannot_be_activated(n8n: Target, kind: str) -> None:
    nodes = {"manualTrigger": [manual()], "disabled webhook": [webhook(disabled=True)], "no nodes": []}[kind]
    made = n8n.create(*nodes, name="Idle")
    answer = n8n.post(made["id"], "activate")
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(n8n.rules.no_trigger.format(made["id"]))
    assert n8n.get(made["id"])["active"] is False


def test_a_node_that_waits_for_an_answer_counts_as_a_starter(n8n: Target) -> None:
    """It listens for the answer."""
    made = n8n.create(manual(), node("Waits", "wait", 1.1), name="Idle")
    assert n8n.activate(made["id"])["active"]
    assert n8n.get(made["id"])["active"]


@pytest.mark.parametrize("kind", ["sub-workflow", "error handler"])
def test_what_others_start_can_be_published_from_2_0_on(n8n: Target, kind: str) -> None:
    made = n8n.create(called() if kind == "sub-workflow" else node("Error", "errorTrigger"), name="Idle")
    answer = n8n.post(made["id"], "activate")
    assert answer.is_success is n8n.rules.subworkflows_are_published
    assert n8n.get(made["id"])["active"] is n8n.rules.subworkflows_are_published


def test_a_node_type_that_is_not_installed_stops_activation(n8n: Target) -> None:
    made = n8n.create(webhook(), {**manual(), "type": "n8n-nodes-absent.thing"})
    answer = n8n.api.post(f"/workflows/{made['id']}/activate")
    assert (answer.status_code, answer.json()) == (400, {"message": "Unrecognized node type: n8n-nodes-absent.thing"})


def test_a_webhook_path_that_is_taken_is_taken_over_in_silence_or_refused(n8n: Target) -> None:
    path = unique()
    first = n8n.live(path)
    last = n8n.create(webhook(path))
    answer = n8n.post(last["id"], "activate")
    if n8n.rules.taken_webhook_is_refused:
        assert (answer.status_code, answer.json()) == (
            409,
            {"message": "There is a conflict with one of the webhooks."},
        )
        assert n8n.get(last["id"])["active"] is False
        assert n8n.answers(path)
        return
    assert answer.status_code == 200
    assert all(n8n.get(made["id"])["active"] for made in (first, last))
    n8n.api.delete(f"/workflows/{last['id']}")
    assert n8n.get(first["id"])["active"] is True
    assert n8n.plain.post(f"/webhook/{path}").status_code == 404, "active, and deaf"


# Around workflows ------------------------------------------------------------------------------------------------


def test_tags_are_made_named_set_and_removed(n8n: Target) -> None:
    name = unique("t")
    tag = n8n.api.post("/tags", json={"name": name})
    assert tag.status_code == 201
    assert n8n.api.post("/tags", json={"name": name}).status_code == 409
    made = n8n.create(manual())
    path = f"/workflows/{made['id']}/tags"
    assert n8n.api.put(path, json=[{"id": "nope"}]).json() == {"message": "Some tags not found"}
    assert n8n.api.put(path, json=[{"id": tag.json()["id"], "name": name}]).status_code == 400
    assert [item["name"] for item in n8n.api.put(path, json=[{"id": tag.json()["id"]}]).json()] == [name]
    assert [item["name"] for item in n8n.get(made["id"])["tags"]] == [name]
    assert [item["id"] for item in n8n.api.get("/workflows", params={"tags": name}).json()["data"]] == [made["id"]]
    assert n8n.api.delete(f"/tags/{tag.json()['id']}").status_code == 200
    assert n8n.get(made["id"])["tags"] == []


def test_credentials_are_made_listed_where_there_is_a_list_and_deleted(n8n: Target) -> None:
    body = {"name": "Basic", "type": "httpBasicAuth", "data": {"user": "a", "password": "b"}}
    made = n8n.api.post("/credentials", json=body).json()
    assert made["id"]
    assert "data" not in made
    listed = n8n.api.get("/credentials")
    if n8n.rules.lists_credentials:
        (item,) = [item for item in listed.json()["data"] if item["id"] == made["id"]]
        assert (item["name"], item["type"], item["shared"][0]["role"]) == ("Basic", "httpBasicAuth", "credential:owner")
        assert "data" not in item
    else:
        assert (listed.status_code, listed.json()) == (405, {"message": "GET method not allowed"})
    assert n8n.api.delete(f"/credentials/{made['id']}").status_code == 200
    assert n8n.api.delete(f"/credentials/{made['id']}").status_code == 404
    assert n8n.api.post("/credentials", json={**body, "type": "nope"}).status_code == 400
    assert n8n.api.post("/credentials", json={**body, "data": {"surprise": 1}}).status_code == 400
    schema = n8n.api.get("/credentials/schema/httpBasicAuth").json()
    assert schema["properties"].keys() == n8n.rules.basic_auth_fields
    assert n8n.api.get("/credentials/schema/nope").status_code == 404


@pytest.mark.parametrize("path", ["/variables", "/projects"])
def test_what_needs_a_licence_says_so(n8n: Target, path: str) -> None:
    answer = n8n.api.get(path)
    assert answer.status_code == 403
    assert "license" in answer.json()["message"]


def test_a_workflow_cannot_be_moved_without_projects(n8n: Target) -> None:
    path = f"/workflows/{n8n.create(manual())['id']}/transfer"
    answer = n8n.api.put(path, json={"destinationProjectId": "nope"})
    status, words = n8n.rules.unknown_project
    assert answer.status_code == status
    assert words in answer.json()["message"]
    answer = n8n.api.put(path, json={"surprise": 1})
    assert answer.json() == {"message": "request/body must have required property 'destinationProjectId'"}


def test_the_risk_report_has_sections_by_kind(n8n: Target) -> None:
    n8n.api.post("/credentials", json={"name": unique(), "type": "httpBasicAuth", "data": {}})
    report = n8n.api.post("/audit", json={}).json()
    sections = report["Credentials Risk Report"]["sections"]
    assert sections[0]["location"][0]["kind"] == "credential"


def test_executions_are_counted_per_workflow_newest_first(n8n: Target) -> None:
    path = unique()
    made = n8n.live(path)
    for _ in range(3):
        assert n8n.plain.post(f"/webhook/{path}").status_code == 200
    query = {"workflowId": made["id"], "limit": 2, "includeData": "false"}
    # A webhook answers before its run is written down.
    page = eventually(lambda: n8n.api.get("/executions", params=query).json(), lambda found: found["nextCursor"])
    ids = [int(run["id"]) for run in page["data"]]
    assert ids == sorted(ids, reverse=True)
    assert {run["workflowId"] for run in page["data"]} == {made["id"]}
    assert {"id", "status", "mode", "startedAt", "stoppedAt", "finished"} <= page["data"][0].keys()
    rest = n8n.api.get("/executions", params={**query, "cursor": page["nextCursor"]}).json()
    assert all(int(run["id"]) < ids[-1] for run in rest["data"])
    refused = n8n.api.get("/executions", params={"status": "odd"})
    assert refused.status_code == 400


def test_an_old_version_can_be_read(n8n: Target) -> None:
    made = n8n.create(webhook())
    n8n.put(made["id"], manual())
    version = n8n.api.get(f"/workflows/{made['id']}/{made['versionId']}")
    assert version.json()["nodes"] == made["nodes"]
    assert n8n.api.get(f"/workflows/{made['id']}/nope").json() == {"message": "Version not found"}


def test_an_unknown_path_is_404_and_a_wrong_method_405(n8n: Target) -> None:
    assert n8n.api.get("/nope").json() == {"message": "not found"}
    answer: httpx.Response = n8n.api.patch("/workflows/x", json={})
    assert (answer.status_code, answer.json()) == (405, {"message": "PATCH method not allowed"})
