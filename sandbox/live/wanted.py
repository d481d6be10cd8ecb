"""Which real versions a run of the tests asks for: what the live suites are parametrised with."""

from __future__ import annotations

import os

from .installs import install_folder, installed
from .versions import KNOWN, NEWEST, OLDEST

ASKED, REQUIRED = "OPSCONSOLE_LIVE_N8N", "OPSCONSOLE_REQUIRE_N8N"


def wanted_versions(option: str = "") -> list[str]:
    """Nothing unless asked; the oldest and the newest for ``1`` (or ``--n8n=live``); else ``all``, or a list."""
    text = os.environ.get(ASKED, "")
    if text in ("", "0"):
        if option not in ("live", "both") and os.environ.get(REQUIRED) != "1":
            return []
        text = "1"
    if text == "1":
        return [OLDEST, NEWEST]
    return list(KNOWN) if text == "all" else [version.strip() for version in text.split(",")]


def missing(version: str) -> str:
    """Why a version that was asked for cannot be had; '' where it can."""
    if installed(install_folder(version)):
        return ""
    return f"a real n8n {version} was asked for and is not installed: run script/n8n install --version {version}"
