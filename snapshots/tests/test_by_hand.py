"""A manifest is put back with the runbook's own INSERT: whatever people wrote in names, it stays a value."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from snapshots.manifest import Manifest, dump_manifest, entry_from, parse_manifest

#: The runbook's lines with the INSERT left out: what psql makes of the file is asked back.
READ_BACK = """psql "$DATABASE_URL" --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 << EOF
SET standard_conforming_strings = {conforming};
SELECT encode(convert_to((data->'workflows'->0->>'name') || '|' || (data->>'description'), 'UTF8'), 'hex')
FROM (
  SELECT '$(cat {path})'::jsonb as data
) subquery;
EOF
"""
#: What closes the literal, or the heredoc, or asks the shell or psql for something.
ATTACKS = (
    "'::jsonb); DROP TABLE snapshots; --",
    "\\'::jsonb); SELECT 1; --",
    "\\\\'; SELECT 1 --",
    "$(exit 7)`exit 7`${HOME}",
    ":'DBNAME' :DBNAME \\! id",
    "\nEOF\n\\q",
    "O'Brien’s “orders” \\u0027 \\x27 \t\x7f",
)
#: PostgreSQL stores no U+0000; surrogates are no text.
TEXTS = st.one_of(
    st.sampled_from(ATTACKS),
    st.text(st.sampled_from("'\\\"u0027;-$`:{}\nE aé"), max_size=40),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40),
)


def manifest_of(name: str, description: str) -> Manifest:
    entry = entry_from({"key": "orders", "name": name, "env_workflow_id": "w1", "blob": "b1"})
    return Manifest(
        id="8b0c1c68-8a35-4d9c-9df4-0a2f2d6f4a11",
        environment_id="1f6f8a3e-52a4-4a0c-9d28-3a1d6a7c1f00",
        snapshot_type="manual_backup",
        description=description,
        created_at="2026-01-02T03:04:05+00:00",
        workflows=[entry],
    )


def in_psql(data: bytes, folder: Path, *, conforming: str) -> subprocess.CompletedProcess[str]:
    path = folder / "snapshot_recovery.json"
    path.write_bytes(data)
    script = READ_BACK.format(path=path, conforming=conforming)
    environment = {**os.environ, "DATABASE_URL": os.environ["DATABASE_OPERATOR_URL"]}
    return subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=TEXTS, description=TEXTS)
@example(name=ATTACKS[0], description=ATTACKS[1])
def test_the_runbooks_insert_takes_every_name_as_a_value(tmp_path: Path, name: str, description: str) -> None:
    data = dump_manifest(manifest_of(name, description))
    assert b"'" not in data
    told = in_psql(data, tmp_path, conforming="on")
    assert told.returncode == 0, told.stderr
    assert bytes.fromhex(told.stdout.strip()).decode() == f"{name}|{description}"
    assert parse_manifest(data) == manifest_of(name, description)


@pytest.mark.parametrize("attack", ATTACKS)
def test_where_backslashes_escape_a_name_is_still_no_statement(tmp_path: Path, attack: str) -> None:
    """A server set so may refuse such a file as no JSON; it never runs what is in it."""
    data = dump_manifest(manifest_of(f"{attack}'; SELECT 'ran'; --", attack))
    told = in_psql(data, tmp_path, conforming="off")
    assert told.returncode == 0 or "json" in told.stderr, told.stderr
    assert "ran" not in told.stdout.splitlines()


def test_what_is_written_stays_json_that_people_read() -> None:
    data = dump_manifest(manifest_of("O'Brien", ""))
    assert orjson.loads(data)["workflows"][0]["name"] == "O'Brien" and b"O\\u0027Brien" in data
