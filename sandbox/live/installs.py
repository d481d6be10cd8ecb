"""One install of n8n per version, with the Node that it needs, shared by every instance and checkout of this user.

``<base>/<version>/`` holds n8n and ``<base>/node-<major>/`` a Node from npm where the machine's own does not fit;
the base is `$OPSCONSOLE_N8N_DIR` or `/var/tmp/opsconsole-n8n-<uid>`.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from .errors import LiveN8nError
from .versions import DEFAULT_VERSION, Recipe, recipe_of

_DRIVER = "node_modules/sqlite3/build"
_LOADS = "require('sqlite3')"
#: What a program of n8n may see of our environment: nothing that configures an n8n, and no secret of the console.
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS")


def base_folder() -> Path:
    """Where the installs are.

    Not below a folder whose name begins with a dot: n8n's web server takes such paths for hidden files and answers 404
    for its own ``openapi.yml``. So neither ``.data`` nor ``~/.cache`` will do.
    """
    if chosen := os.environ.get("OPSCONSOLE_N8N_DIR"):
        return Path(chosen)
    folder = Path("/var/tmp") / f"opsconsole-n8n-{os.getuid()}"  # noqa: S108 - its owner is checked
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise LiveN8nError(f"{folder} belongs to somebody else. Name another folder in OPSCONSOLE_N8N_DIR.")
    return folder


def install_folder(version: str = DEFAULT_VERSION) -> Path:
    """Where this version is, or would be, installed."""
    return base_folder() / recipe_of(version).version


def program(folder: Path) -> Path:
    """n8n's command line."""
    return folder / "node_modules" / ".bin" / "n8n"


def installed(folder: Path) -> bool:
    """Whether an install is whole: npm came to its end, and so did the compiler of the database driver."""
    return _unpacked(folder) and _driver(folder).exists()


def _unpacked(folder: Path) -> bool:
    # npm writes its own list last of all: without it some packages are missing, or half there.
    listed = folder / "node_modules" / ".package-lock.json"
    return listed.exists() and program(folder).exists() and package_version(folder, "n8n") == folder.name


def _driver(folder: Path) -> Path:
    return folder / _DRIVER / "Release" / "node_sqlite3.node"


def package_version(folder: Path, package: str) -> str:
    """The version of a package that lies there; '' where there is none."""
    try:
        return str(json.loads((folder / "node_modules" / package / "package.json").read_text())["version"])
    except (OSError, ValueError, KeyError):
        return ""


# -- Node ---------------------------------------------------------------------------------------------------------


@cache
def machine_node() -> int:
    """The major version of the Node on the PATH; 0 without one."""
    node = shutil.which("node")
    if not node:
        return 0
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    major = answer.stdout.strip().lstrip("v").partition(".")[0]
    return int(major) if major.isdigit() else 0


def _node_package() -> str:
    system = {"Linux": "linux", "Darwin": "darwin"}.get(platform.system(), "")
    kind = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine().lower(), "")
    if not system or not kind:
        raise LiveN8nError(
            f"There is no Node for {platform.system()} on {platform.machine()} in npm. Install the Node that this n8n"
            " needs and put it on the PATH: see `script/n8n versions`."
        )
    return f"node-{system}-{kind}"


def _own_node(major: int) -> Path:
    """The folder of a Node from npm, there or not."""
    return base_folder() / f"node-{major}" / "node_modules" / _node_package() / "bin"


def node_folder(recipe: Recipe) -> Path | None:
    """What goes first on the PATH for this version; None where the machine's own Node fits."""
    return None if recipe.suits(machine_node()) else _own_node(recipe.fallback_node)


def environment(version: str) -> dict[str, str]:
    """The variables that n8n's programs run with, its Node first on the PATH."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    if folder := node_folder(recipe_of(version)):
        kept["PATH"] = f"{folder}{os.pathsep}{kept.get('PATH', os.defpath)}"
    return kept


def _ensure_node(recipe: Recipe) -> None:
    if not shutil.which("npm") or not machine_node():
        raise LiveN8nError(
            "A real n8n is installed with npm, and there is none on the PATH. Install Node with npm first (Debian:"
            " apt install nodejs npm); the Node that n8n itself needs is then fetched."
        )
    folder = node_folder(recipe)
    if folder is None or (folder / "node").exists():
        return
    folder = base_folder() / f"node-{recipe.fallback_node}"
    with _locked(folder):
        if not (folder / "node").exists():
            _write_package(folder, {"dependencies": {_node_package(): str(recipe.fallback_node)}})
            _npm(folder, dict(os.environ), "install", "--no-audit", "--no-fund")


# -- n8n ----------------------------------------------------------------------------------------------------------


def install(version: str = DEFAULT_VERSION) -> Path:
    """Install a version unless it is whole already, mending what a broken install left; its folder.

    Raises LiveN8nError when npm fails.
    """
    recipe, folder = recipe_of(version), install_folder(version)
    with _locked(folder):
        _ensure_node(recipe)
        if installed(folder):
            return folder
        _adopt_former_layout(folder)
        if not _unpacked(folder):
            _unpack(recipe, folder)
        # One after the other: the second takes what the first has compiled.
        with _locked(folder.parent / "driver"):
            _compile_driver(recipe, folder)
    if not installed(folder):
        raise LiveN8nError(f"npm reported success, but {folder} holds no usable n8n. Delete the folder and try again.")
    return folder


def _unpack(recipe: Recipe, folder: Path) -> None:
    # npm would take a package that is half there for a whole one.
    shutil.rmtree(folder / "node_modules", ignore_errors=True)
    (folder / "package-lock.json").unlink(missing_ok=True)
    _write_package(folder, {"dependencies": {"n8n": recipe.version}, "overrides": dict(recipe.overrides)})
    words = ["--legacy-peer-deps"] if recipe.legacy_peer_deps else []
    # Scripts of dependencies stay off; only the database driver is compiled, knowingly.
    _npm(folder, _npm_environment(recipe), "install", "--no-audit", "--no-fund", "--ignore-scripts", *words)


def _compile_driver(recipe: Recipe, folder: Path) -> None:
    """Take the driver of another install where it is the same one, else compile it. It does not depend on the Node."""
    wanted = package_version(folder, "sqlite3")
    if not _driver_loads(recipe, folder):
        for other in sorted(folder.parent.iterdir()):
            if other != folder and installed(other) and package_version(other, "sqlite3") == wanted:
                shutil.rmtree(folder / _DRIVER, ignore_errors=True)
                shutil.copytree(other / _DRIVER, folder / _DRIVER)
                break
    if not _driver_loads(recipe, folder):
        shutil.rmtree(folder / _DRIVER, ignore_errors=True)
        _npm(folder, _npm_environment(recipe), "rebuild", "sqlite3")


def _driver_loads(recipe: Recipe, folder: Path) -> bool:
    if not _driver(folder).exists():
        return False
    command = ["node", "-e", _LOADS]
    answer = subprocess.run(
        command, cwd=folder, env=_npm_environment(recipe), capture_output=True, check=False, stdin=subprocess.DEVNULL
    )
    return answer.returncode == 0


def _adopt_former_layout(folder: Path) -> None:
    """Before there was a folder per version, the one n8n lay in the base itself."""
    base = folder.parent
    if package_version(base, "n8n") != folder.name or folder.exists():
        return
    folder.mkdir()
    for name in ("node_modules", "package.json", "package-lock.json"):
        if (base / name).exists():
            (base / name).rename(folder / name)


def _npm_environment(recipe: Recipe) -> dict[str, str]:
    # npm needs what the machine set up for it: registry, certificates, caches.
    return {**os.environ, "PATH": environment(recipe.version).get("PATH", os.defpath)}


def _npm(folder: Path, variables: Mapping[str, str], *words: str) -> None:
    print(f"npm {' '.join(words)} (in {folder}) ...", file=sys.stderr, flush=True)
    npm = shutil.which("npm") or "npm"
    result = subprocess.run([npm, *words], cwd=folder, env=dict(variables), stdout=sys.stderr, check=False)
    if result.returncode:
        raise LiveN8nError(
            f"`npm {' '.join(words)}` failed with exit code {result.returncode}: see its words above. If the package"
            " registry cannot be reached, there is no live n8n; the sandbox (python -m sandbox) needs none."
        )


def _write_package(folder: Path, content: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    package = {"name": "opsconsole-live-n8n", "private": True, **content}
    (folder / "package.json").write_text(json.dumps(package, indent=2) + "\n")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time installs into a folder; the others wait, and then find it done."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
