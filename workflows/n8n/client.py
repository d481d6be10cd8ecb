"""The client of one n8n instance. Synchronous, thread-safe, careful with writes."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from functools import partial
from typing import Any, Literal, Self
from urllib.parse import quote

import httpx

from workflows.normalization import SETTING_DEFAULTS

from . import answers, contracts, errors
from .address import AddressPolicy
from .bodies import WriteResult, write_body
from .contracts import Contract
from .http import API, WHOLE, Answer, Http, Limits, known_as
from .listing import PAGE_BYTES, PAGE_LIMIT, PAGE_SIZES, CachedPage, Listing, Page
from .pace import Pace
from .spec import Capabilities

__all__ = ["CachedPage", "Limits", "N8nClient", "Page", "WriteResult"]

_DELETE_WAITS = (0.25, 0.5, 1.0, 2.0, 4.0, *(8.0,) * 17)
"""Seconds between tries to delete what n8n is still unpublishing. Measured on 2.41.1: 2 s at most; but what an n8n was
publishing when it was killed is held by its own lease of two minutes."""
_PATH_SIGNS = "/:@!$&'()*+,;=~%"
"""What stands in a path as it is; a percent sign too, for n8n's paths may be written with escapes already."""
_PRODUCTION = {"FORM": "/form/", "MCP": "/mcp/"}

Listening = Literal["listening", "absent", "unknown"]
"""Whether n8n answers at an address: it says so, it says that it does not, or nobody can tell from here."""


_WORD = 500
_LIST_ROWS = 25_000
_LIST_BYTES = 64 * 1024 * 1024
_LIST_SECONDS = 120.0
"""Bounds of a list of credentials, tags, tables or variables: what no instance has, and a hostile one sends."""

_NO_CONTRACT = (
    errors.NotAnApi,
    errors.RemoteNotFound,
    errors.Unauthorized,
    errors.ScopeMissing,
    errors.Rejected,
    errors.TooLarge,
)

WRITES_AT_ONCE = 4
"""Of an n8n that runs published versions (2.0 and later): each of its transactions has a connection to itself."""


class N8nClient:
    """Calls of the public API. `api_key` is never logged nor put into an error. Close it when done."""

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        policy: AddressPolicy | None = None,
        limits: Limits | None = None,
        transport: httpx.BaseTransport | None = None,
        headers: Mapping[str, str] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._http = Http(
            base_url, api_key, policy=policy, limits=limits, transport=transport, headers=headers, sleep=sleep
        )
        self.base_url = self._http.base_url
        self._sleep = sleep
        self._is_private = transport is not None  # a test's transport shares nothing with others
        self._private_contract: Contract | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def call(self, method: str, path: str, **options: Any) -> Answer:
        """One call below `/api/v1`, for what has no method here."""
        return self._http.call(method, API + path, **options)

    # Capabilities

    def spec(self, *, fresh: bool = False) -> Capabilities:
        """Return what the instance can do; kept for five minutes, then asked again by its ETag.

        An instance that does not publish its contract gets the oldest set, with `known` False.
        """
        contract = self._private_contract if self._is_private else contracts.recall(self.base_url)
        if contract is None or fresh or not contract.is_fresh:
            contract = self._read_contract(contract)
            if self._is_private:
                self._private_contract = contract
            else:
                contracts.remember(self.base_url, contract)
        if contract.capabilities.can("activate_version"):
            self._http.widen(WRITES_AT_ONCE)
        return contract.capabilities

    def _read_contract(self, known: Contract | None) -> Contract:
        etag = known.etag if known else ""
        try:
            answer = self.call("GET", "/openapi.yml", headers=known_as(etag), keyed=False)
            if known is not None and answer.status == 304:
                return Contract(known.capabilities, answer.etag or etag, time.monotonic())
            return Contract(Capabilities.from_yaml(answer.body), answer.etag or etag, time.monotonic())
        except _NO_CONTRACT:
            return Contract(Capabilities.assumed(), "", time.monotonic())

    # Reading

    def iter_workflow_pages(
        self,
        *,
        page_size: int = PAGE_LIMIT,
        exclude_pinned_data: bool = False,
        cache: MutableMapping[str, CachedPage] | None = None,
        verify: bool = True,
    ) -> Iterator[Page]:
        """Yield the list page by page, each workflow once, also where rows come and go meanwhile: see `listing`.

        With `verify` off a list that changed is not read again. `cache` is the caller's memory between calls (see
        `CachedPage`). Raises `ListMoved` if the list does not come to rest in four passes.
        """
        size = max(1, min(page_size, PAGE_LIMIT))

        def ask(cursor: str, etag: str, *, pins: bool = not exclude_pinned_data) -> Answer:
            params = {"limit": size, "cursor": cursor, "excludePinnedData": None if pins else "true"}
            most = PAGE_BYTES if size > 1 else WHOLE
            return self.call("GET", "/workflows", params=params, headers=known_as(etag), most_bytes=most)

        return Listing(
            ask,
            size=size,
            memory=cache if cache is not None else {},
            address=f"{size}:{exclude_pinned_data}:",
            ask_briefly=partial(ask, pins=False),
        ).pages(verify=verify)

    def iter_workflows(
        self, *, exclude_pinned_data: bool = False, within_seconds: float | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield each raw workflow once, by smaller pages where a large one is more than can be taken.

        Raises `TimedOut` where the whole list takes longer than ``within_seconds``; see `pace`.
        """
        seen: set[str] = set()
        pace = Pace(within_seconds)
        for size in PAGE_SIZES:
            try:
                for page in self.iter_workflow_pages(page_size=size, exclude_pinned_data=exclude_pinned_data):
                    pace.rest()
                    for raw in page.items:
                        pace.keep()
                        if raw["id"] not in seen:
                            seen.add(raw["id"])
                            yield raw
                return
            except errors.TooLarge:
                if size == PAGE_SIZES[-1]:
                    raise

    def get_workflow(self, workflow_id: str) -> dict[str, Any]:
        """Return one raw workflow; raises `RemoteNotFound`."""
        found = answers.single(self.call("GET", f"/workflows/{_id(workflow_id)}", most_bytes=WHOLE), exact=True)
        if not found.get("id"):
            raise errors.NotAnApi("The answer does not look like a workflow of n8n's.")
        return found

    def workflows_named(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the raw workflows of exactly this name. n8n filters where it can; otherwise the whole list is read.

        n8n asks its database by LIKE, where a backslash means something else.
        """
        among = self.iter_workflows() if not name or "\\" in name else self._all("/workflows", name=name)
        yield from (raw for raw in among if (raw.get("name") or "") == name)

    def executions(
        self, *, limit: int = 100, cursor: str | None = None, workflow_id: str | None = None, status: str | None = None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Return one page of executions, newest first, without their data, and the cursor of the next."""
        params = {
            "limit": min(limit, PAGE_LIMIT),
            "cursor": cursor,
            "workflowId": workflow_id,
            "status": status,
            "includeData": "false",
        }
        return answers.listed(self.call("GET", "/executions", params=params))

    def list_credentials(self) -> list[dict[str, Any]] | None:
        """Return `{id, name, type}` of each credential, or None where this n8n does not list them."""
        if not self.spec().can("list_credentials"):
            return None
        try:
            found = self._all("/credentials")
        except (errors.VersionUnsupported, errors.NotLicensed, errors.ScopeMissing):
            return None
        return [{key: str(c.get(key) or "")[:_WORD] for key in ("id", "name", "type")} for c in found]

    def has_folders(self) -> bool:
        """Whether workflows can be moved into folders here: its API takes that, and its licence is not against it."""
        if not self.spec().can("move_to_folder"):
            return False
        try:
            self.call("GET", "/projects/personal/folders", params={"take": 1})
        except errors.NotLicensed:
            return False
        except errors.N8nError:
            return True  # nobody says no; the write will tell
        return True

    def audit(self) -> dict[str, Any]:
        """Return n8n's own risk report. It changes nothing there, though it is a POST."""
        return answers.single(self.call("POST", "/audit", body={}))

    def get_execution(self, number: int) -> dict[str, Any]:
        """Return one execution without its data; raises `RemoteNotFound`."""
        return answers.single(self.call("GET", f"/executions/{number}", params={"includeData": "false"}))

    def started_by(self, number: int) -> str:
        """The node by which an execution began; '' where n8n does not tell. Raises `RemoteNotFound`."""
        raw = answers.single(self.call("GET", f"/executions/{number}", params={"includeData": "true"}))
        return answers.starting_node(raw.get("data"))

    def history(self, workflow_id: str, *, limit: int = 1) -> list[dict[str, Any]]:
        """Return the last versions that n8n keeps of a workflow, the newest first, without what they hold."""
        return answers.listed(self.call("GET", f"/workflows/{_id(workflow_id)}/history", params={"limit": limit}))[0]

    # Writing

    def create_workflow(self, content: Mapping[str, Any]) -> WriteResult:
        """Create a workflow, not active; n8n chooses its id."""
        spec = self.spec()
        body, omitted = write_body(content, keys=spec.create_keys, present=None, spec=spec)
        if "nodeGroups" in spec.create_keys and content.get("nodeGroups"):
            body["nodeGroups"] = content["nodeGroups"]
        made = WriteResult(answers.written(self.call("POST", "/workflows", body=body)), omitted)
        if not made.id:
            raise errors.AmbiguousWrite("n8n's answer does not say which workflow it created.")
        return made

    def update_workflow(
        self,
        workflow_id: str,
        content: Mapping[str, Any],
        *,
        current: Mapping[str, Any] | None = None,
        publish: bool = True,
        folder: str | None = None,
    ) -> WriteResult:
        """Write `content` over a workflow, exactly.

        n8n merges settings, so each setting that `content` does not have is sent with its default: all of them, or
        with `current` (what is there now) those that are set there. Settings without a known default are reported.
        With `publish` off the content becomes the draft beside what runs (only where the instance can `stage`); name
        and settings have no versions and count at once. With ``folder`` (an id) it is moved there; without, it stays.
        """
        present = (current.get("settings") or {}) if current is not None else dict.fromkeys(SETTING_DEFAULTS)
        spec = self.spec()
        body, omitted = write_body(content, keys=spec.update_keys, present=present, spec=spec)
        if "nodeGroups" in spec.update_keys:  # a group that is kept without its nodes is refused
            body["nodeGroups"] = content.get("nodeGroups") or []
        if folder is not None:
            body["parentFolderId"] = folder
        params = None if publish or not spec.can("stage") else {"publishIfActive": "false"}
        answer = self.call("PUT", f"/workflows/{_id(workflow_id)}", body=body, params=params)
        return WriteResult(answers.written(answer), omitted)

    def publish(
        self, workflow_id: str, *, version_id: str | None = None, name: str = "", description: str = ""
    ) -> dict[str, Any]:
        """Publish a version (the draft, or `version_id`); raises `Rejected` with n8n's words where it will not.

        `name` and `description` stand in n8n's own history where it takes them. Where n8n
        publishes in the background its answer proves nothing: read the workflow afterwards.
        """
        spec = self.spec()
        body: dict[str, str] = {}
        if version_id and spec.can("activate_version"):
            body["versionId"] = version_id
        if not spec.can("publish"):
            return self._post(workflow_id, "activate", body or None)
        body |= {key: value for key, value in (("name", name[:128]), ("description", description[:500])) if value}
        return self._post(workflow_id, "publish", body)

    def unpublish(self, workflow_id: str) -> dict[str, Any]:
        """Unpublish a workflow; the draft stays."""
        return self._post(workflow_id, "unpublish" if self.spec().can("unpublish") else "deactivate")

    def archive(self, workflow_id: str) -> dict[str, Any]:
        """Archive a workflow in n8n, which also unpublishes it."""
        return self._post(workflow_id, "archive")

    def unarchive(self, workflow_id: str) -> dict[str, Any]:
        """Unarchive a workflow in n8n; it stays unpublished."""
        return self._post(workflow_id, "unarchive")

    def _post(self, workflow_id: str, verb: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return answers.written(self.call("POST", f"/workflows/{_id(workflow_id)}/{verb}", body=body))

    def listening(self, address: str) -> Listening:
        """Whether n8n answers at a production address (`POST orders/new`, `FORM signup`, `MCP path`).

        Asked by a CORS preflight (OPTIONS with an Origin), which n8n answers with the registered methods and which
        starts nothing (measured on 1.123.0 and 2.41.1). A proxy that answers preflights itself is recognised: it also
        lists methods for an address that does not exist.
        """
        methods, _, path = address.partition(" ")
        try:
            path = _PRODUCTION.get(methods, "/webhook/") + quote(path, safe=_PATH_SIGNS)
        except UnicodeEncodeError:  # half an emoji: no request can carry it
            return "unknown"
        found = self._methods_at(path)
        if found is None:
            return "unknown"
        if found == {"OPTIONS"}:
            return "absent"
        if self._methods_at(f"/webhook/{uuid.uuid4()}") != {"OPTIONS"}:
            return "unknown"
        return "listening" if methods in _PRODUCTION or found & set(methods.split("|")) else "absent"

    def _methods_at(self, path: str) -> set[str] | None:
        try:
            answer = self._http.call("OPTIONS", path, keyed=False, headers={"Origin": self.base_url})
        except errors.N8nError:
            return None
        allowed = answer.headers.get("access-control-allow-methods", "")
        return {word.strip().upper() for word in allowed.split(",") if word.strip()} or None

    def delete(self, workflow_id: str) -> bool:
        """Delete for good, published or not. False where it was gone already.

        n8n refuses to delete what is published, and for some seconds what it is still unpublishing. Raises
        `StillUnpublishing` where it does not come to rest within two and a half minutes.
        """
        for wait in (*_DELETE_WAITS, None):
            try:
                self.call("DELETE", f"/workflows/{_id(workflow_id)}")
                return True
            except errors.RemoteNotFound:
                return False
            except errors.RemoteConflict as conflict:
                if wait is None:
                    raise errors.StillUnpublishing(details=conflict.details) from conflict
            if self.get_workflow(workflow_id).get("active"):
                self.unpublish(workflow_id)
            self._sleep(wait)
        raise AssertionError("unreachable")

    def tags(self) -> list[dict[str, Any]]:
        """Return all tags, `{id, name}`."""
        return [tag for tag in self._all("/tags") if tag.get("id") and isinstance(tag.get("name"), str)]

    def set_tags(self, workflow_id: str, names: Sequence[str]) -> list[str]:
        """Give a workflow exactly the tags `names`, creating those that are missing; returns the names it has now."""
        wanted = list(dict.fromkeys(n for n in names if n))
        ids = self._tag_ids(wanted)
        answer = self.call("PUT", f"/workflows/{_id(workflow_id)}/tags", body=[{"id": ids[n]} for n in wanted])
        present = answer.json()
        if not isinstance(present, list):
            raise errors.NotAnApi("The list of tags does not look like n8n's.")
        return [str(t.get("name")) for t in present if isinstance(t, dict)]

    def _tag_ids(self, names: Sequence[str]) -> dict[str, Any]:
        """The ids of all tags by name, ``names`` among them: those that are missing are created."""
        ids = {tag["name"]: tag["id"] for tag in self.tags()} if names else {}
        for name in names:
            if name in ids:
                continue
            try:
                ids[name] = answers.single(self.call("POST", "/tags", body={"name": name})).get("id")
            except (errors.RemoteConflict, errors.AmbiguousWrite):  # somebody, or we, made it just now
                ids = {tag["name"]: tag["id"] for tag in self.tags()}
                if name not in ids:
                    raise
        return ids

    def retry_execution(self, number: int) -> dict[str, Any]:
        """Run a failed execution again, with the workflow as it is saved now; returns the new execution.

        n8n answers when the run has ended, so a long one ends in `AmbiguousWrite`: look for it by `retryOf`. Raises
        `RemoteConflict` for one that cannot be retried, in n8n's words.
        """
        answer = self.call("POST", f"/executions/{number}/retry", body={"loadWorkflow": True})
        return answers.written(answer)

    def all_of(self, path: str) -> list[dict[str, Any]]:
        """Return every row of a list that pages by cursor."""
        return self._all(path)

    # Helpers

    def _all(self, path: str, **params: str) -> list[dict[str, Any]]:
        """Every row, within bounds of rows, bytes and time, and no longer than the cursor moves."""
        found: list[dict[str, Any]] = []
        size, until = 0, time.monotonic() + _LIST_SECONDS
        cursor: str | None = None
        seen: set[str | None] = set()
        while cursor not in seen:
            seen.add(cursor)
            answer = self.call("GET", path, params={"limit": PAGE_LIMIT, "cursor": cursor, **params})
            items, cursor = answers.listed(answer)
            found += items
            size += len(answer.body)
            if cursor is None:
                return found
            if size > _LIST_BYTES or len(found) > _LIST_ROWS:
                raise errors.TooLarge("A list of the n8n instance is longer than is accepted here.")
            if time.monotonic() > until:
                raise errors.TimedOut("A list of the n8n instance did not end in time.")
        return found  # it leads back to where it was


def _id(workflow_id: str) -> str:
    if not workflow_id:
        raise errors.RemoteNotFound("The workflow has no id in this environment.")
    try:
        return quote(str(workflow_id), safe="")
    except UnicodeEncodeError as exc:
        raise errors.NotAsked() from exc
