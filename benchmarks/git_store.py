"""How much the Git store costs beside bare Git.

Writes the same workflows as a first commit in four ways, each into a fresh repository, the ways taking turns,
and then once more with a twentieth of them changed. Prints a Markdown table.

    python benchmarks/git_store.py [--workflows 2000] [--bytes 18000] [--rounds 5] [--large 10000] [--save FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from snapshots.store import GitStore, Person

QUIET = {**os.environ, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
AUTHOR = Person("Benchmark", "benchmark@invalid")
WORDS = [f"{a}{b}" for a in ("order", "mail", "sheet", "web", "lead", "sync", "item", "user") for b in range(250)]


def workflow(number: int, size: int) -> bytes:
    """A made-up workflow of about ``size`` bytes: as repetitive as real ones, no two alike."""
    rng = random.Random(number)
    nodes, taken = [], 0
    while taken < size * 0.92:
        node = {
            "id": f"{rng.getrandbits(128):032x}",
            "name": f"{rng.choice(WORDS)} {rng.choice(WORDS)}",
            "type": f"n8n-nodes-base.{rng.choice(WORDS)}",
            "typeVersion": rng.randint(1, 4),
            "position": [rng.randint(-2000, 2000), rng.randint(-2000, 2000)],
            "parameters": {
                rng.choice(WORDS): " ".join(rng.choices(WORDS, k=rng.randint(3, 25))),
                "options": {rng.choice(WORDS): rng.random()},
            },
        }
        nodes.append(node)
        taken += len(json.dumps(node, indent=2)) + 60
    content = {"name": f"Workflow {number}", "nodes": nodes, "connections": {}, "settings": {}}
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()


def stream(contents: list[bytes]) -> Iterator[bytes]:
    yield b"feature done\n"
    for mark, data in enumerate(contents, 1):
        yield b"blob\nmark :%d\ndata %d\n" % (mark, len(data))
        yield data
        yield b"\n"
    yield b"commit refs/heads/main\ncommitter B <b@invalid> 0 +0000\ndata 7\nCapture\n"
    for mark in range(1, len(contents) + 1):
        yield b"M 100644 :%d workflows/workflow-%d.json\n" % (mark, mark)
    yield b"done\n"


class Ways:
    """The ways to compare; each takes a fresh folder, and only what is timed happens in it."""

    def __init__(self, contents: list[bytes], folder: Path) -> None:
        self.contents = contents
        self.prebuilt = folder / "stream"
        with self.prebuilt.open("wb") as handle:
            handle.writelines(stream(contents))

    def store(self, folder: Path) -> float:
        store = GitStore.open(folder, "bench").create()
        return clock(lambda: self.capture(store, self.contents, "one"))

    @staticmethod
    def capture(store: GitStore, contents: list[bytes], name: str) -> None:
        with store.writer("snapshots/bench", replace=["workflows"]) as writer:
            for number, data in enumerate(contents, 1):
                writer.put(f"workflows/workflow-{number}.json", data)
            writer.put(f"snapshots/bench/{name}.json", b"{}\n")
            writer.commit(message="Capture", author=AUTHOR)

    def fast_import(self, folder: Path, *options: str, settings: tuple[str, ...] = ()) -> float:
        git(folder, "init", "-q", "--bare", ".")

        def run() -> None:
            with self.prebuilt.open("rb") as handle:
                git(folder, *settings, "fast-import", "--quiet", *options, stdin=handle)

        return clock(run)

    def tuned_fast_import(self, folder: Path) -> float:
        return self.fast_import(folder, "--depth=0", settings=("-c", "pack.compression=1"))

    def work_tree(self, folder: Path) -> float:
        git(folder, "init", "-q", ".")
        (folder / "workflows").mkdir()

        def run() -> None:
            for number, data in enumerate(self.contents, 1):
                (folder / "workflows" / f"workflow-{number}.json").write_bytes(data)
            git(folder, "add", ".")
            git(folder, "-c", "user.name=B", "-c", "user.email=b@invalid", "commit", "-q", "-m", "Capture")

        return clock(run)

    def again(self, folder: Path) -> float:
        """The second capture, with each twentieth workflow changed."""
        store = GitStore.open(folder, "bench").create()
        self.capture(store, self.contents, "one")
        changed = [
            data.replace(b'"settings": {}', b'"settings": {"a": 1}', 1) if number % 20 == 0 else data
            for number, data in enumerate(self.contents)
        ]
        return clock(lambda: self.capture(store, changed, "two"))


def git(folder: Path, *args: str, stdin: object = None) -> None:
    subprocess.run(["git", *args], cwd=folder, check=True, env=QUIET, stdin=stdin)  # type: ignore[call-overload]


def clock(run: Callable[[], None]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def peak(count: int, size: int) -> tuple[float, float, float]:
    """A capture of ``count`` workflows in a process of its own: own MiB above idle, git's MiB, seconds."""
    code = (
        "import sys, resource, tempfile, time, runpy; from pathlib import Path\n"
        f"b = runpy.run_path({str(Path(__file__).resolve())!r})\n"
        "GitStore, Person = b['GitStore'], b['Person']\n"
        "def own(): return int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]) / 1024\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    store = GitStore.open(folder, 'bench').create()\n"
        "    sample = [b['workflow'](n, %d) for n in range(50)]\n"
        "    idle, began = own(), time.perf_counter()\n"
        "    with store.writer('snapshots/bench', replace=['workflows']) as w:\n"
        "        for n in range(%d):\n"
        "            w.put(f'workflows/workflow-{n}.json', sample[n %% 50] + b'%%d' %% n)\n"
        "        w.commit(message='Capture', author=Person('B'))\n"
        "    took = time.perf_counter() - began\n"
        "    print(own() - idle, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, took)\n"
    ) % (size, count)
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    own, child, took = map(float, out.split())
    return own, child, took


def report(options: argparse.Namespace) -> str:
    contents = [workflow(number, options.bytes) for number in range(options.workflows)]
    average = sum(map(len, contents)) / len(contents) / 1000
    with tempfile.TemporaryDirectory(prefix="git-store-bench-") as folder_name:
        folder = Path(folder_name)
        ways = Ways(contents, folder)
        named: dict[str, Callable[[Path], float]] = {
            "`git fast-import` of a prebuilt stream (the bare limit)": ways.fast_import,
            "the same with our settings (no deltas, compression 1)": ways.tuned_fast_import,
            "files, `git add`, `git commit` in a work tree": ways.work_tree,
            "**the Git store**, first capture": ways.store,
            "**the Git store**, next capture, 5 % changed": ways.again,
        }
        times: dict[str, list[float]] = {name: [] for name in named}
        sizes: dict[str, int] = {}
        for _ in range(options.rounds):
            for name, run in named.items():
                here = folder / "here"
                here.mkdir()
                times[name].append(run(here))
                sizes[name] = sum(file.stat().st_size for file in here.rglob("*") if file.is_file())
                shutil.rmtree(here)
    bare = statistics.median(next(iter(times.values())))
    version = subprocess.run(["git", "--version"], check=True, capture_output=True, text=True).stdout.split()[2]
    lines = [
        "# The Git store beside bare Git",
        "",
        f"{options.workflows:,} workflows of {average:.1f} KB; Git {version}, Python {sys.version.split()[0]}, "
        f"{os.cpu_count()} cores; median of {options.rounds} rounds taken in turn (fastest in brackets).",
        "",
        f"    python benchmarks/git_store.py --workflows {options.workflows} --bytes {options.bytes} "
        f"--rounds {options.rounds} --large {options.large}",
        "",
        "| Way | Seconds | × bare | On disk |",
        "|---|---|---|---|",
    ]
    for name, taken in times.items():
        middle = statistics.median(taken)
        disk = "" if "work tree" in name else f"{sizes[name] / 1e6:.1f} MB"
        lines.append(f"| {name} | {middle:.2f} ({min(taken):.2f}) | {middle / bare:.2f} | {disk} |")
    if options.large:
        own, child, took = peak(options.large, 12_000)
        lines += [
            "",
            f"A capture of {options.large:,} workflows of 12 KB took {took:.1f} s; at its peak the writing process "
            f"held {own:.0f} MiB more than idle, and the largest git process at most {child:.0f} MiB.",
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workflows", type=int, default=2000)
    parser.add_argument("--bytes", type=int, default=18_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", type=int, default=10_000)
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
    text = report(options)
    print(text)
    if options.save:
        options.save.parent.mkdir(parents=True, exist_ok=True)
        options.save.write_text(text)


if __name__ == "__main__":
    main()
