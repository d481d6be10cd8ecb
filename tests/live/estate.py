"""An estate as a team has it: sixty workflows, a chain in which one calls another, credentials under other ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from operations import engine
from operations.models import Operation
from promotions import services
from promotions.models import Promotion
from sandbox.generate import estate as generated
from snapshots.services import start_capture
from tenants.scope import tenant_scope
from tests.real import real_workflows
from workflows import credentials
from workflows.models import CanonicalWorkflow, Environment
from workflows.references import CredentialRef, references, rewrite
from workflows.structure import repaired, structure_faults
from workflows.stubs import placeholder

from .world import JSON, Site, called, calls, flow, hook, pause, says

PACKAGES = ("n8n-nodes-base.", "@n8n/n8n-nodes-langchain.")
#: What a trigger of a published workflow may be: these reach nobody outside.
QUIET = frozenset({"webhook", "scheduleTrigger", "cron", "interval", "formTrigger", "executeWorkflowTrigger"})


def features(workflow: Mapping[str, Any]) -> frozenset[str]:
    """What makes a workflow worth having in a small estate."""
    kinds = {str(node["type"]).rpartition(".")[2] for node in workflow["nodes"]}
    return frozenset(
        {f"type:{kind}" for kind in kinds}
        | {f"credential:{r.credential_type}" for r in references(workflow) if r.kind == "credential"}
        | {f"refers:{r.kind}" for r in references(workflow)}
    )


def chosen(count: int, known: Callable[[str], bool]) -> list[JSON]:
    """The most various of the real workflows (of generated ones where there are none), always the same.

    ``known`` says whether n8n has a type of credential: some workflows are of a time when it had more.

    What n8n's structure check refuses is taken away, as the editor does when somebody opens and saves them.
    """
    found = real_workflows() or [workflow for _, workflow in generated(count * 2, seed=4)]
    usable = [repaired(w) for w in found if all(str(n["type"]).startswith(PACKAGES) for n in w["nodes"])]
    waiting = {
        number: features(w)
        for number, w in enumerate(usable)
        if not structure_faults(w)
        and all(r.kind != "data_table" and (r.kind != "credential" or known(r.credential_type)) for r in references(w))
    }
    picked: list[int] = []
    seen: set[str] = set()
    while waiting and len(picked) < count:
        best = max(waiting, key=lambda number: (len(waiting[number] - seen), -number))
        seen |= waiting.pop(best)
        picked.append(best)
    return [{**usable[number], "name": f"{usable[number]['name']} #{number}"[:120]} for number in picked]


def chain(text: str, ids: Mapping[str, str]) -> dict[str, JSON]:
    """Webhook → sub-workflow → sub-workflow and tool, with an error workflow; and an agent that has the tool.

    ``ids`` are those of the workflows that are called, as far as they are known. In the order of being made.
    """
    trouble = {**called(), "type": "n8n-nodes-base.errorTrigger", "typeVersion": 1, "parameters": {}}
    made = {
        "Trouble": flow("Trouble", trouble, says(f"trouble {text}")),
        "Tool": flow("Tool", called(), says(f"tool {text}")),
        "Inner": flow("Inner", called(), says(text)),
        "Outer": flow("Outer", called(), calls(ids.get("Tool", ""), "Ask the tool"), calls(ids.get("Inner", ""))),
        "Agent": agent(ids.get("Tool", ""), text),
    }
    front = flow("Front", hook("front"), fails(), calls(ids.get("Outer", "")), errorWorkflow=ids.get("Trouble", ""))
    front["connections"]["Fail?"] = {
        "main": [[{"node": "Stop", "type": "main", "index": 0}], [{"node": "Call", "type": "main", "index": 0}]]
    }
    front["nodes"].append(stops(text))
    return {**made, "Front": front}


def fails() -> JSON:
    """Leads to its first output where the call says ``{"fail": true}``."""
    rule = {
        "id": "c",
        "leftValue": "={{ $json.body.fail }}",
        "rightValue": "",
        "operator": {"type": "boolean", "operation": "true", "singleValue": True},
    }
    options = {"caseSensitive": True, "leftValue": "", "typeValidation": "loose", "version": 2}
    return {
        "id": "fails",
        "name": "Fail?",
        "type": "n8n-nodes-base.if",
        "typeVersion": 2.2,
        "position": [200, 0],
        "parameters": {
            "conditions": {"options": options, "conditions": [rule], "combinator": "and"},
            "looseTypeValidation": True,
            "options": {},
        },
    }


def stops(text: str) -> JSON:
    return {
        "id": "stops",
        "name": "Stop",
        "type": "n8n-nodes-base.stopAndError",
        "typeVersion": 1,
        "position": [400, 200],
        "parameters": {"errorMessage": f"asked to fail {text}"},
    }


def agent(tool: str, text: str) -> JSON:
    """A chat with an agent that may call the tool; no test has a model, so it is published and never asked."""
    start = {
        "id": "chat", "name": "Chat", "type": "@n8n/n8n-nodes-langchain.chatTrigger", "typeVersion": 1.1,
        "position": [0, 0], "parameters": {"options": {}}, "webhookId": "6f5b9a51-0f0c-4a6e-9f42-3f1f0a1b2c3d",
    }  # fmt: skip
    thinks = {
        "id": "agent", "name": "Agent", "type": "@n8n/n8n-nodes-langchain.agent", "typeVersion": 2,
        "position": [200, 0], "parameters": {"options": {"systemMessage": f"You are {text}."}},
    }  # fmt: skip
    model = {
        "id": "model", "name": "Model", "type": "@n8n/n8n-nodes-langchain.lmChatOpenAi", "typeVersion": 1.2,
        "position": [200, 200],
        "parameters": {"model": {"__rl": True, "mode": "list", "value": "gpt-4.1-mini"}, "options": {}},
        "credentials": {"openAiApi": {"id": "as-in-a-template", "name": "Model account"}},
    }  # fmt: skip
    asks = {
        "id": "tool", "name": "Look it up", "type": "@n8n/n8n-nodes-langchain.toolWorkflow", "typeVersion": 2.2,
        "position": [400, 200], "parameters": {
            "description": "Looks it up.", "workflowId": {"__rl": True, "mode": "id", "value": tool},
            "workflowInputs": {"mappingMode": "defineBelow", "value": {}, "schema": []},
        },
    }  # fmt: skip
    made = flow("Agent", start, thinks)
    made["nodes"] += [model, asks]
    made["connections"]["Model"] = {"ai_languageModel": [[{"node": "Agent", "type": "ai_languageModel", "index": 0}]]}
    made["connections"]["Look it up"] = {"ai_tool": [[{"node": "Agent", "type": "ai_tool", "index": 0}]]}
    return made


def needed(workflows: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Type and name of every credential that they name."""
    found = {(r.credential_type, r.name) for w in workflows for r in references(w) if r.kind == "credential"}
    return sorted(found)


def starts_quietly(workflow: Mapping[str, Any]) -> bool:
    """Whether it can be published on a machine that reaches nobody."""
    kinds = [str(n["type"]).rpartition(".")[2] for n in workflow["nodes"] if not n.get("disabled")]
    triggers = {kind for kind in kinds if kind.endswith("Trigger") or kind in QUIET} - {"manualTrigger"}
    return bool(triggers) and triggers <= QUIET


@dataclass
class Place(Site):
    """One n8n with credentials of its own: type and name to their id here."""

    credentials: dict[tuple[str, str], str] = field(default_factory=dict)

    def empty_credential(self, kind: str) -> JSON | None:
        """The least data that this n8n takes for a credential of a type; None where it has no such type."""
        schema = self.api("GET", f"/credentials/schema/{kind}")
        return placeholder(schema.json()) if schema.status_code == 200 else None

    def make_credentials(self, wanted: Iterable[tuple[str, str]], data: Mapping[str, JSON | None]) -> None:
        """With dummy data."""
        with self.instance.client() as client:
            for kind, name in wanted:
                made = client.post("/credentials", json={"name": name, "type": kind, "data": data[kind]})
                assert made.status_code == 200, (kind, made.text)
                self.credentials[kind, name] = made.json()["id"]

    def import_(self, workflow: Mapping[str, Any], *, instead: str = "", published: bool = False) -> str:
        """As a person does it: the credentials are those of this n8n, and it calls one that is here."""
        ident = self.make(self.at_home(workflow, instead))
        if published:
            self.publish(ident)
        return ident

    def at_home(self, workflow: Mapping[str, Any], instead: str = "") -> JSON:
        refs = references(workflow)
        stand_ins = {
            (r.credential_type, r.value or r.name): CredentialRef(self.credentials[r.credential_type, r.name], r.name)
            for r in refs
            if r.kind == "credential" and (r.credential_type, r.name) in self.credentials
        }
        moved = {r.value: instead for r in refs if r.kind == "workflow"} if instead else {}
        found = rewrite(workflow, workflow_ids=moved, credentials=stand_ins).content
        settings = {
            k: v
            for k, v in found["settings"].items()
            if v is not None and k in ("executionOrder", "errorWorkflow", "timezone")
        }
        nodes = [{k: v for k, v in node.items() if k != "meta"} for node in found["nodes"]]
        return {"name": found["name"], "nodes": nodes, "connections": found["connections"], "settings": settings}

    def make_chain(self, text: str) -> dict[str, str]:
        """The chain, published; ids by name."""
        ids: dict[str, str] = {}
        for name in chain(text, {}):
            ids[name] = self.import_(chain(text, ids)[name], published=True)
        return ids

    def change_chain(self, ids: Mapping[str, str], text: str) -> None:
        """Every workflow of the chain says something else from now on."""
        for name, workflow in chain(text, ids).items():
            self.put(ids[name], self.at_home(workflow))

    def last_run(self, name: str) -> JSON:
        """The newest execution of a workflow, by name, as n8n recorded it."""
        ident = self.all()[name]["id"]
        query = {"workflowId": ident, "includeData": "true", "limit": 1}
        found = self.api("GET", "/executions", params=query).json()["data"]
        return found[0] if found else {}

    def said(self, name: str, node: str = "Out") -> str:
        """What a node of the newest execution put out."""
        runs = self.last_run(name).get("data", {}).get("resultData", {}).get("runData", {}).get(node) or []
        if not runs or not (runs[-1].get("data") or {}).get("main"):
            return ""
        return str(runs[-1]["data"]["main"][0][0]["json"].get("from"))

    def eventually_said(self, name: str, text: str, *, tries: int = 40) -> bool:
        """Whether it comes to have said so: an error workflow runs after the answer."""
        for _ in range(tries):
            if self.said(name) == text:
                return True
            pause(0.25)
        return False


@dataclass
class Estate:
    """Development, staging and production on three real n8n, and what people of the tenant do with them."""

    cast: Any
    sites: dict[str, Place]
    environments: dict[str, Environment]
    ids: dict[str, str] = field(default_factory=dict)

    @property
    def tenant_id(self) -> Any:
        return self.cast.tenant.pk

    def drive(self, operation: Operation) -> Operation:
        engine.drive(operation_id=operation.pk, tenant_id=self.tenant_id)
        with tenant_scope(self.tenant_id):
            return Operation.objects.get(pk=operation.pk)

    def capture(self, *names: str) -> None:
        for name in names or self.environments:
            place = self.environments[name]
            started = start_capture(tenant_id=self.tenant_id, environment_id=place.pk, requested_by=self.cast.operator)
            done = self.drive(started)
            assert done.status == "COMPLETED", done.error_details
            with tenant_scope(self.tenant_id):
                place.refresh_from_db()

    def keys(self) -> list[str]:
        with tenant_scope(self.tenant_id):
            return sorted(CanonicalWorkflow.objects.values_list("key", flat=True))

    def promote(self, source: str, target: str, keys: Iterable[str]) -> Promotion:
        """Planned, approved by somebody else, carried out."""
        pair = {
            "source_environment_id": self.environments[source].pk,
            "target_environment_id": self.environments[target].pk,
        }
        credentials.accept_suggestions(tenant_id=self.tenant_id, by=self.cast.operator, **pair)
        made = services.create(
            tenant_id=self.tenant_id,
            request=services.PromotionRequest(
                source_id=self.environments[source].pk,
                target_id=self.environments[target].pk,
                keys=tuple(keys),
                options={"active": "copy", "require_approval": True},
            ),
            by=self.cast.operator,
        )
        at: dict[str, Any] = {"tenant_id": self.tenant_id, "promotion_id": made.pk}
        services.submit(**at, by=self.cast.operator)
        services.approve(**at, by=self.cast.approver)
        self.drive(services.execute(**at, by=self.cast.operator))
        return services.get_promotion(**at)
