"""The bare limits: the same bytes over HTTP, the same hashing, the same blobs into Git; nothing else.

No identity, no rows, no comparison, no recovery. A bare run is allowed every trick that costs no safety of its own: it
keeps its connections, reads a page ahead, and works on eight workflows at a time; its writes are one at a time as those of
the console are (an n8n on SQLite loses writes that overlap), unless OPSCONSOLE_N8N_WRITES_AT_ONCE says otherwise.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import orjson

PRETTY = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
WRITTEN = ("name", "nodes", "connections", "settings")


class Bare:
    """One instance, spoken to without the console."""

    def __init__(self, api_url: str, headers: Mapping[str, str]) -> None:
        self.http = httpx.Client(base_url=api_url, headers=dict(headers), timeout=60)
        self._writing = threading.BoundedSemaphore(int(os.environ.get("OPSCONSOLE_N8N_WRITES_AT_ONCE") or 1))

    def close(self) -> None:
        self.http.close()

    def _page(self, cursor: str | None, **params: str) -> dict[str, Any]:
        asked = {"limit": "250", **params} | ({"cursor": cursor} if cursor else {})
        answer = self.http.get("/workflows", params=asked)
        answer.raise_for_status()
        return orjson.loads(answer.content)  # type: ignore[no-any-return]

    def workflows(self, **params: str) -> Iterator[dict[str, Any]]:
        """The list, the next page being fetched while the last is worked on."""
        with ThreadPoolExecutor(max_workers=1) as pool:
            coming = pool.submit(self._page, None, **params)
            while True:
                page = coming.result()
                following = page.get("nextCursor")
                if following:
                    coming = pool.submit(self._page, following, **params)
                yield from page["data"]
                if not following:
                    return

    def check(self) -> int:
        """Page and hash."""
        hashes = {raw["id"]: _hash(raw) for raw in self.workflows(excludePinnedData="true")}
        return len(hashes)

    def capture(self) -> int:
        """Page, hash, and write every content as a blob of one commit in a fresh repository."""
        folder = Path(tempfile.mkdtemp(prefix="bare-"))
        try:
            subprocess.run(["git", "init", "-q", "--bare", str(folder)], check=True)
            command = ["git", "-C", str(folder), "fast-import", "--quiet", "--date-format=raw"]
            with subprocess.Popen(command, stdin=subprocess.PIPE) as importer:
                assert importer.stdin
                hashes: dict[str, str] = {}
                for mark, raw in enumerate(self.workflows(), 1):
                    data = orjson.dumps(_kept(raw), option=PRETTY)
                    hashes[raw["id"]] = _hash(raw)
                    importer.stdin.write(b"blob\nmark :%d\ndata %d\n" % (mark, len(data)))
                    importer.stdin.write(data + b"\n")
                head = b"commit refs/heads/seen\ncommitter Bench <bench@invalid> 1 +0000\ndata 4\nseen\n"
                files = (b"M 100644 :%d workflows/%s.json\n" % (n, i.encode()) for n, i in enumerate(hashes, 1))
                importer.stdin.write(head + b"".join(files))
                importer.stdin.close()
                if importer.wait() != 0:
                    raise SystemExit("git fast-import failed")
            return len(hashes)
        finally:
            shutil.rmtree(folder)

    def write(self, bodies: Mapping[str, Mapping[str, Any]], *, concurrency: int, read_first: bool = False) -> None:
        """``PUT`` each body to its id and read it back."""

        def one(ident: str) -> None:
            if read_first:
                _hash(orjson.loads(self.http.get(f"/workflows/{ident}").content))
            content = orjson.dumps(bodies[ident])
            with self._writing:
                answer = self.http.put(
                    f"/workflows/{ident}", content=content, headers={"Content-Type": "application/json"}
                )
            answer.raise_for_status()
            _hash(orjson.loads(self.http.get(f"/workflows/{ident}").content))

        _each(one, bodies, concurrency)

    def create(self, bodies: list[Mapping[str, Any]], *, concurrency: int) -> None:
        """``POST`` each body and read it back."""

        def one(body: Mapping[str, Any]) -> None:
            content = orjson.dumps(body)
            with self._writing:
                answer = self.http.post("/workflows", content=content, headers={"Content-Type": "application/json"})
            answer.raise_for_status()
            _hash(orjson.loads(self.http.get(f"/workflows/{answer.json()['id']}").content))

        _each(one, bodies, concurrency)


def _each(act: Callable[[Any], None], items: Any, concurrency: int) -> None:
    with ThreadPoolExecutor(max_workers=concurrency) as pool:
        for _ in pool.map(act, items):
            pass


def _kept(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {key: raw.get(key) for key in (*WRITTEN, "active", "staticData", "pinData") if raw.get(key)}


def _hash(raw: Mapping[str, Any]) -> str:
    content = {key: raw.get(key) for key in WRITTEN}
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
