"""Where the demo's workflows live: instances of the sandbox, or real n8n by its public API."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Protocol

import httpx
import yaml

from core import clock

from .catalogue import CREDENTIALS, NAMES
from .drawing import JSON, Flow, short_id

Change = Callable[[JSON], None]
CONFLICT = 409
#: Profiles of the sandbox: what a new user installs today, and the last that keeps no drafts.
NEWEST, OLDEST = "2.41", "1.123"
DELETE_LIMIT_SECONDS = 20.0


class Site(Protocol):
    """One instance, behind the console's back: what its own people do in n8n's editor."""

    base_url: str
    api_key: str
    has_faults: bool

    def seed(self, flows: Sequence[Flow], *, credentials: Sequence[str] = ()) -> None: ...
    def edit(self, key: str, change: Change, *, author: str = "") -> None: ...
    def switch(self, key: str, active: bool) -> None: ...
    def remove(self, key: str) -> None: ...
    def id_of(self, key: str) -> str: ...
    def fault(self, **spec: Any) -> None: ...
    def clear_faults(self) -> None: ...


class Control:
    """A client of the sandbox's control API. Raises ``httpx.HTTPStatusError``."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=f"{self.url}/_control", headers={"Authorization": f"Bearer {token}"}, timeout=30
        )

    def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._http.request(method, path, json=body)
        answer.raise_for_status()
        return answer.json()

    def close(self) -> None:
        self._http.close()


class SandboxSite:
    """An instance of the sandbox, made anew."""

    has_faults = True

    def __init__(self, control: Control, name: str, *, profile: str = NEWEST) -> None:
        self._control, self._name, self._profile = control, name, profile
        made = control.call("POST", "/instances", {"name": name, "profile": profile, "replace": True})
        self.base_url, self.api_key = f"{control.url}/{name}", made["api_key"]

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        return self._control.call(method, f"/instances/{self._name}{path}", body)

    def id_of(self, key: str) -> str:
        return short_id(self._name, key)

    def _credential(self, kind: str) -> JSON:
        return {"id": short_id(self._name, "credential", kind), "name": CREDENTIALS[kind]}

    def seed(self, flows: Sequence[Flow], *, credentials: Sequence[str] = ()) -> None:
        """Workflows and the credentials they use, with a few days of runs of the active ones."""
        kinds = {node.credential for flow in flows for node in flow.nodes if node.credential} | set(credentials)
        self._call("POST", "/credentials", [{**self._credential(kind), "type": kind} for kind in sorted(kinds)])
        made: list[JSON] = [
            {"id": self.id_of(f.key)} | f.render(workflow_id=self.id_of, credential=self._credential, names=NAMES)
            for f in flows
        ]
        if self._profile != OLDEST:
            # Since 2.0 what is called must be published to run.
            made = [raw | {"active": raw["active"] or _is_called(raw)} for raw in made]
        self._call("POST", "/seed", {"workflows": made, "keep_ids": True})
        self._call("POST", "/executions", _runs([m["id"] for m in made if m["active"]]))

    def edit(self, key: str, change: Change, *, author: str = "", draft: bool = False) -> None:
        """What is saved is published too, unless it is left as a ``draft`` beside what runs."""
        stored = next(w for w in self._call("GET", "/state")["workflows"] if w["id"] == self.id_of(key))
        raw = copy.deepcopy(stored)
        change(raw)
        fields = ("name", "nodes", "connections", "settings", "pinData")
        changes = {field: raw[field] for field in fields if raw.get(field) != stored.get(field)}
        self._call("POST", f"/workflows/{stored['id']}/edit", {"changes": changes, "author": author, "draft": draft})

    def archive(self, key: str) -> None:
        self._call("POST", f"/workflows/{self.id_of(key)}/edit", {"changes": {"archived": True}})

    def upgrade(self, profile: str) -> None:
        """Another n8n, and what its migration to 2.0 does to workflows that others can call."""
        self._call("PATCH", "", {"profile": profile})
        for raw in self._call("GET", "/state")["workflows"]:
            if not raw["active"] and _is_called(raw):
                self._call("POST", f"/workflows/{raw['id']}/edit", {"changes": {"active": True}})

    def switch(self, key: str, active: bool) -> None:
        self._call("POST", f"/workflows/{self.id_of(key)}/edit", {"changes": {"active": active}})

    def remove(self, key: str) -> None:
        self._call("DELETE", f"/workflows/{self.id_of(key)}")

    def fault(self, **spec: Any) -> None:
        self._call("POST", "/faults", spec)

    def clear_faults(self) -> None:
        self._call("DELETE", "/faults")

    def revoke_key(self) -> None:
        """The key that the console holds is no longer good."""
        self._call("PATCH", "", {"api_keys": ["revoked-and-replaced"]})


def _runs(workflow_ids: Sequence[str]) -> list[JSON]:
    """Three days of executions, the oldest first; one workflow in seven fails now and then, the first at the end."""
    now, found = clock.now(), []
    for hours in range(72, 0, -6):
        for number, workflow_id in enumerate(workflow_ids):
            began = now - timedelta(hours=hours, minutes=-2 * number)
            took = timedelta(milliseconds=180 + 97 * ((number * 7 + hours) % 40))
            failed = number % 7 == 0 and (hours % 24 == 0 or (number == 0 and hours == 6))
            times = {"started": _as_n8n(began), "stopped": _as_n8n(began + took)}
            found.append({"workflow_id": workflow_id, "status": "error" if failed else "success", **times})
    return found


def _as_n8n(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class N8nSite:
    """A real n8n. Ids are its own: what calls another workflow is made after it."""

    has_faults = False

    def __init__(self, base_url: str, api_key: str) -> None:
        self.base_url, self.api_key = base_url.rstrip("/"), api_key
        self._http = httpx.Client(base_url=f"{self.base_url}/api/v1", headers={"X-N8N-API-KEY": api_key}, timeout=60)
        self._ids: dict[str, str] = {}
        self._credentials: dict[str, JSON] = {}

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._http.request(method, path, json=body)
        answer.raise_for_status()
        return answer.json()

    def id_of(self, key: str) -> str:
        return self._ids[key]

    def seed(self, flows: Sequence[Flow], *, credentials: Sequence[str] = ()) -> None:
        """Make what is not there yet by name; what an earlier start has left is as at the beginning again."""
        present = {w["name"]: w["id"] for w in self._call("GET", "/workflows?limit=250")["data"]}
        tags = {t["name"]: t["id"] for t in self._call("GET", "/tags?limit=250")["data"]}
        for flow in flows:
            self._ids[flow.key] = present.get(flow.name, "")
        for flow in flows:
            self._put(flow, tags)

    def _put(self, flow: Flow, tags: dict[str, str]) -> None:
        """``tags`` are ids by name, and get those that are made here."""
        raw = flow.render(workflow_id=self.id_of, credential=self._credential, names=NAMES)
        wanted, active = raw.pop("tags"), raw.pop("active")
        known = self._ids[flow.key]
        made = self._call("PUT", f"/workflows/{known}", raw) if known else self._call("POST", "/workflows", raw)
        self._ids[flow.key] = made["id"]
        for name in wanted:
            tags[name] = tags.get(name) or self._call("POST", "/tags", {"name": name})["id"]
        self._call("PUT", f"/workflows/{made['id']}/tags", [{"id": tags[name]} for name in wanted])
        # Since 2.0 what is called must be published to run; before, it could not be.
        published = active or (self._publishes_called() and _is_called(raw))
        if published != bool(made.get("active")):
            self.switch(flow.key, published)

    @cache  # noqa: B019 - as long as the site itself
    def _publishes_called(self) -> bool:
        """Whether `activate` takes a version: the mark of an n8n that keeps drafts."""
        paths = yaml.safe_load(self._http.get("/openapi.yml").text)["paths"]
        return any("requestBody" in item["post"] for path, item in paths.items() if path.endswith("/activate"))

    def _credential(self, kind: str) -> JSON:
        if kind not in self._credentials:
            credential_id = self._listed_credentials().get(kind) or self._made_credential(kind)
            self._credentials[kind] = {"id": credential_id, "name": CREDENTIALS[kind]}
        return self._credentials[kind]

    @cache  # noqa: B019 - as long as the site itself
    def _listed_credentials(self) -> dict[str, str]:
        """Ids by type of those that an earlier start has made; older n8n lists none."""
        answer = self._http.get("/credentials", params={"limit": 250})
        rows = answer.json()["data"] if answer.is_success else ()
        return {row["type"]: row["id"] for row in rows if row["name"] == CREDENTIALS.get(row["type"])}

    def _made_credential(self, kind: str) -> str:
        body = {"name": CREDENTIALS[kind], "type": kind, "data": SECRETS.get(kind, {})}
        answer = self._http.post("/credentials", json=body)
        # n8n asks for fields that differ by version; an id that leads nowhere does for a demo.
        return str(answer.json()["id"]) if answer.is_success else short_id(self.base_url, kind)

    def edit(self, key: str, change: Change, *, author: str = "") -> None:
        """n8n knows the author by the key."""
        raw = self._call("GET", f"/workflows/{self.id_of(key)}")
        change(raw)
        body = {name: raw[name] for name in ("name", "nodes", "connections", "settings")}
        self._call("PUT", f"/workflows/{raw['id']}", body)

    def switch(self, key: str, active: bool) -> None:
        self._call("POST", f"/workflows/{self.id_of(key)}/{'activate' if active else 'deactivate'}")

    def remove(self, key: str) -> None:
        """Newer n8n deletes nothing that is published, nor for some seconds what was."""
        path = f"/workflows/{self.id_of(key)}"
        self._call("POST", f"{path}/deactivate")
        deadline = time.monotonic() + DELETE_LIMIT_SECONDS
        while (answer := self._http.delete(path)).status_code == CONFLICT and time.monotonic() < deadline:
            time.sleep(0.25)
        answer.raise_for_status()

    def fault(self, **spec: Any) -> None:
        raise NotImplementedError("A real n8n has no faults on call.")

    def clear_faults(self) -> None:
        return


#: Values that fit n8n's schemas; none of them opens anything.
SECRETS: Mapping[str, JSON] = {
    "postgres": {"host": "db.invalid", "database": "shop", "user": "shop", "password": "demo"},
    "httpHeaderAuth": {"name": "X-Demo", "value": "demo"},
    "slackApi": {"accessToken": "demo"},
    "smtp": {"user": "demo", "password": "demo", "host": "mail.invalid", "port": 465, "secure": True},
    "openAiApi": {"apiKey": "demo", "headerName": "", "headerValue": ""},
    "hubspotAppToken": {"appToken": "demo"},
}


def _is_called(raw: JSON) -> bool:
    """Whether other workflows, or n8n itself after a failure, start this one."""
    kinds = {n["type"].rpartition(".")[2] for n in raw["nodes"]}
    return bool(kinds & {"executeWorkflowTrigger", "errorTrigger"})


# -- edits ------------------------------------------------------------------------------------------------------------


def node(raw: JSON, name: str) -> JSON:
    """The node of this name."""
    return next(n for n in raw["nodes"] if n["name"] == name)


def parameter(name: str, path: str, value: Any) -> Change:
    """Sets a parameter of a node, ``path`` with dots."""

    def change(raw: JSON) -> None:
        place = node(raw, name)["parameters"]
        *way, last = path.split(".")
        for part in way:
            place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
        place[int(last) if isinstance(place, list) else last] = value

    return change


def insert_after(before: str, made: JSON) -> Change:
    """Puts a node between another and what follows on its first output."""

    def change(raw: JSON) -> None:
        x, y = node(raw, before)["position"]
        for other in raw["nodes"]:
            if other["position"][0] > x:
                other["position"][0] += 240
        raw["nodes"].append({**made, "position": [x + 240, y]})
        lanes = raw["connections"].setdefault(before, {}).setdefault("main", [[]])
        raw["connections"][made["name"]] = {"main": [lanes[0]]}
        lanes[0] = [{"node": made["name"], "type": "main", "index": 0}]

    return change


def last_node(**values: Any) -> Change:
    def change(raw: JSON) -> None:
        raw["nodes"][-1] |= values

    return change


def setting(**values: Any) -> Change:
    def change(raw: JSON) -> None:
        raw["settings"] = {**raw["settings"], **values}

    return change


def both(*changes: Change) -> Change:
    def change(raw: JSON) -> None:
        for each in changes:
            each(raw)

    return change
