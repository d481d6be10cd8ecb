"""Layers point downward: import-linter checks imports, these the rest."""

from __future__ import annotations

import tomllib
from pathlib import Path

from django.apps import apps

ROOT = Path(__file__).resolve().parent.parent
CONFIGURATION = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
CONTRACTS = {contract["name"]: contract for contract in CONFIGURATION["importlinter"]["contracts"]}
LAYERS: list[str] = CONTRACTS["Layers point downward"]["layers"]
#: Around the product: what tries and measures it.
AROUND = {"tests", "benchmarks"}


def test_every_package_has_its_layer() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - AROUND
    assert set(LAYERS) == set(CONFIGURATION["importlinter"]["root_packages"]) == packages


def test_no_foreign_key_points_upward() -> None:
    """The first layer is the highest. Of apps that are not ours nothing is asked."""
    height = {name: -number for number, name in enumerate(LAYERS)}
    upward = [
        f"{model.__name__}.{field.name} → {field.related_model.__name__}"
        for model in apps.get_models()
        if (own := model._meta.app_config.name) in height
        for field in model._meta.get_fields()
        if field.is_relation and field.concrete and field.related_model is not None
        if height.get(field.related_model._meta.app_config.name, -1000) > height[own]
    ]
    assert upward == []
