"""A promotion on a real n8n that publishes versions: how long old and new run side by side, and how quick the way back is.

    script/bench cutover [--workflows 100] [--rounds 3]      (script/n8n install first)

Each round promotes new versions of every workflow, rolls them back, and makes the bare publish calls: the same calls alone,
as many at once, between two versions, twice. The calls name what they publish, as ours do; what naming costs n8n stands in a row
of its own. *Side by side* is from the first publish call to the end of the last one; *until the old runs* is from the request
of the rollback to there.
The careful path is what older versions get: the same promotion with staging taken from what the instance offers.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from .setup import drive, environment_of, fresh_tenant, own_git_root, save, start_django, table

CONCURRENCY = 4
TARGET = 1.15
HEAD = ["what", "OpsConsole", "bare publish calls", "ratio (median)", "each round", "target", ""]


@dataclass
class Watch:
    """When calls that make something live began and ended, on the target alone."""

    port: int
    spans: list[tuple[float, float]] = field(default_factory=list)

    @property
    def width_seconds(self) -> float:
        return self.last - min(begin for begin, _ in self.spans)

    @property
    def last(self) -> float:
        """When the last one ended, by the clock of ``perf_counter``."""
        return max(end for _, end in self.spans)


def publishes(method: str, path: str, query: str) -> bool:
    """Whether a call lets new content run: a publish, or a write that is live at once."""
    return (method == "POST" and path.endswith(("/publish", "/activate"))) or (
        method == "PUT" and "publishIfActive=false" not in query
    )


@contextmanager
def watching(watch: Watch) -> Iterator[Watch]:
    from workflows.n8n.http import Http

    real = Http._exchange

    def exchange(http: Any, request: Any, until: float) -> Any:
        began = time.perf_counter()
        answer = real(http, request, until)
        if request.url.port == watch.port and publishes(request.method, request.url.path, request.url.query.decode()):
            watch.spans.append((began, time.perf_counter()))
        return answer

    Http._exchange = exchange  # type: ignore[method-assign]
    try:
        yield watch
    finally:
        Http._exchange = real  # type: ignore[method-assign]


def flow(number: int, text: str) -> dict[str, Any]:
    hook = {
        "id": "hook",
        "name": "Hook",
        "type": "n8n-nodes-base.webhook",
        "typeVersion": 2,
        "position": [0, 0],
        "parameters": {"path": f"bench-{number}", "httpMethod": "POST", "responseMode": "lastNode"},
        "webhookId": f"00000000-0000-4000-8000-{number:012}",
    }
    says = {
        "id": "out",
        "name": "Out",
        "type": "n8n-nodes-base.set",
        "typeVersion": 3.4,
        "position": [200, 0],
        "parameters": {
            "assignments": {"assignments": [{"id": "a", "name": "from", "value": text, "type": "string"}]},
            "options": {},
        },
    }
    links = {"Hook": {"main": [[{"node": "Out", "type": "main", "index": 0}]]}}
    return {
        "name": f"Bench {number:03}",
        "nodes": [hook, says],
        "connections": links,
        "settings": {"executionOrder": "v1"},
    }


@dataclass
class Round:
    """Seconds of one round."""

    mixed: float
    whole: float
    back_mixed: float
    back_until: float
    back: float
    bare: float
    nameless: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/bench cutover")
    parser.add_argument("--workflows", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3, help="of the staged path; the careful one gets half as many")
    options = parser.parse_args()
    start_django()
    from sandbox.live import LiveN8n
    from sandbox.testing import SandboxServer

    live = LiveN8n(1)
    with own_git_root(), live as (target,), SandboxServer() as server:
        source = server.control.create("source", profile="2.41")
        world = World(source, target, options.workflows)
        staged = [world.round(f"staged {n}") for n in range(options.rounds)]
        with careful():
            slow = [world.round(f"careful {n}") for n in range(max(1, options.rounds // 2))]
    forth, nameless = [r.bare for r in staged], [r.nameless for r in staged]
    rows = [
        row("promotion: old and new side by side", [r.mixed for r in staged], forth),
        row("rollback: old and new side by side", [r.back_mixed for r in staged], forth),
        row("rollback: from the request until the old runs", [r.back_until for r in staged], forth),
        row("the careful path: old and new side by side", [r.mixed for r in slow], [r.bare for r in slow], target=None),
        row(
            "the careful path, rollback: side by side",
            [r.back_mixed for r in slow],
            [r.bare for r in slow],
            target=None,
        ),
        row("promotion, whole operation", [r.whole for r in staged], forth, target=None),
        row("rollback, whole operation", [r.back for r in staged], forth, target=None),
        row("the bare calls without a name", nameless, forth, target=None),
        row("the careful path, whole promotion", [r.whole for r in slow], [r.bare for r in slow], target=None),
        row("the careful path, whole rollback", [r.back for r in slow], [r.bare for r in slow], target=None),
    ]
    command = f"script/bench cutover --workflows {options.workflows} --rounds {options.rounds}"
    about = f"\n{options.workflows} workflows with a webhook each on n8n {live.version}, SQLite, two cores.\n"
    save(
        "cutover", command=command, title="Cut over and roll back on a real n8n", body=about + "\n" + table(HEAD, rows)
    )


def row(what: str, ours: list[float], bare: list[float], *, target: float | None = TARGET) -> list[str]:
    each = [mine / theirs for mine, theirs in zip(ours, bare, strict=True)]
    ratio = statistics.median(each)
    verdict = "" if target is None else ("met" if ratio <= target else "missed")
    told = f"≤ {target}" if target else "–"
    seconds = (f"{statistics.median(ours):.2f} s", f"{statistics.median(bare):.2f} s")
    return [what, *seconds, f"{ratio:.2f}", ", ".join(f"{one:.2f}" for one in each), told, verdict]


@contextmanager
def careful() -> Iterator[None]:
    """As if the instance could not save a draft beside what runs."""
    from workflows.n8n.spec import Capabilities

    real = Capabilities.can
    Capabilities.can = lambda spec, name: name != "stage" and real(spec, name)  # type: ignore[method-assign]
    try:
        yield
    finally:
        Capabilities.can = real  # type: ignore[method-assign]


class World:
    """A source that is a look-alike, a target that is real."""

    def __init__(self, source: Any, target: Any, count: int) -> None:
        self.source, self.target, self.count = source, target, count
        self.tenant, self.owner = fresh_tenant()
        self.here = environment_of(self.tenant, base_url=source.base_url, api_key=source.api_key, name="source")
        self.there = environment_of(self.tenant, base_url=target.base_url, api_key=target.api_key, name="target")
        self.ids = {made["name"]: made["id"] for made in source.seed([flow(n, "old") for n in range(count)])}
        self.watch = Watch(int(target.base_url.rpartition(":")[2]))
        for ident in self.ids.values():
            self._edit(ident, "old")
        self._promote(active="copy", publish=True)

    def _edit(self, ident: str, text: str) -> None:
        number = next(int(name[-3:]) for name, known in self.ids.items() if known == ident)
        self.source.edit(ident, **{k: v for k, v in flow(number, text).items() if k in ("nodes", "connections")})

    def _capture(self) -> None:
        from snapshots.services import start_capture

        for environment in (self.here, self.there):
            drive(start_capture(tenant_id=self.tenant.pk, environment_id=environment.pk, requested_by=None))

    def _promote(self, *, active: str = "keep", publish: bool = False) -> Any:
        from promotions import services

        if publish:
            with self.source.client() as client:
                for ident in self.ids.values():
                    client.post(f"/workflows/{ident}/publish", json={})
            self.source.settle()
        self._capture()
        keys = [r.key for r in self._compared().rows if r.can_be_promoted]
        made = services.create(
            tenant_id=self.tenant.pk,
            request=services.PromotionRequest(
                source_id=self.here.pk, target_id=self.there.pk, keys=keys, options={"active": active}
            ),
            by=self.owner,
        )
        services.submit(tenant_id=self.tenant.pk, promotion_id=made.pk, by=self.owner)
        drive(services.execute(tenant_id=self.tenant.pk, promotion_id=made.pk, by=self.owner))
        return made

    def _compared(self) -> Any:
        from promotions.reading.comparison import compare

        return compare(tenant_id=self.tenant.pk, source_id=self.here.pk, target_id=self.there.pk)

    def round(self, text: str) -> Round:
        from promotions import services

        for ident in self.ids.values():
            self._edit(ident, text)
        self.source.settle()
        self.watch.spans.clear()
        with watching(self.watch):
            began = time.perf_counter()
            made = self._promote()
            whole, mixed = time.perf_counter() - began, self.watch.width_seconds
            self.watch.spans.clear()
            began = time.perf_counter()
            drive(services.rollback(tenant_id=self.tenant.pk, promotion_id=made.pk, by=self.owner, reason="bench"))
            back, back_mixed = time.perf_counter() - began, self.watch.width_seconds
            until = self.watch.last - began
        named = {"name": "bench", "description": "Promoted from source by somebody. /t/bench/promotions/1/"}
        bare, nameless = self.bare(named), self.bare({})
        return Round(mixed, whole, back_mixed, until, back, (bare + self.bare(named)) / 2, nameless)

    def bare(self, naming: dict[str, str]) -> float:
        """The publish calls alone, from each workflow's version before the last to the last."""
        with self.target.client() as client:
            found = client.get("/workflows", params={"limit": 250}).json()["data"]
            versions = {
                raw["id"]: [v["versionId"] for v in client.get(f"/workflows/{raw['id']}/history").json()["data"][:2]]
                for raw in found
            }

            def publish(which: int) -> Callable[[str], None]:
                def one(ident: str) -> None:
                    client.post(
                        f"/workflows/{ident}/publish", json={"versionId": versions[ident][which], **naming}
                    ).raise_for_status()

                return one

            with ThreadPoolExecutor(CONCURRENCY) as pool:
                list(pool.map(publish(1), versions))
                began = time.perf_counter()
                list(pool.map(publish(0), versions))
                return time.perf_counter() - began


if __name__ == "__main__":
    main()
