"""Stands in for ``script/n8n scratch`` in tests: a sandbox, until standard input closes."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sandbox.testing import SandboxServer


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--version", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--json", action="store_true", required=True)
    asked = parser.parse_args()
    if asked.version == "9.9.9":
        sys.stderr.write("npm: No matching version found for n8n@9.9.9.\n")
        return 1
    asked.data.mkdir(parents=True)
    (asked.data / "environment.json").write_text(json.dumps(sorted(os.environ)))
    with SandboxServer() as server:
        instance = server.control.create("scratch", profile="2.0")
        told = {
            "base_url": instance.base_url,
            "api_key": instance.api_key,
            "version": asked.version,
            "pid": os.getpid(),
        }
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        note = os.environ.get("OPSCONSOLE_N8N_DIR")
        if note:
            Path(note).write_text(json.dumps({**told, "environment": sorted(os.environ)}))
        while os.read(sys.stdin.fileno(), 4096):
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
