"""A report of a million rows in each format against PostgreSQL's own COPY of the same query; time and memory.

    script/bench reports [--rows 1000000] [--rounds 3]

The rows are refused attempts of the platform. Both read the same joins in the same order; ours also guards each text
against formulas, counts, hashes, and leaves its event in the trail.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

from .setup import fresh_tenant, save, start_django, table

FILL = """
INSERT INTO audit_logentry (timestamp, tenant_id, actor_id, cid, source, action, action_name, resource_type, details,
                            remote_addr, transaction_id)
SELECT now() - make_interval(secs => 5 * (%(rows)s - n)) - interval '1 minute', %(tenant)s, %(actor)s, md5('r' || n), 'web', 3,
       (ARRAY['REFUSED', 'SIGN_IN_FAILED', 'IMPERSONATION_BLOCKED'])[1 + n %% 3], 'requests',
       jsonb_build_object('code', 'IMP_004', 'reason', 'Refused: number ' || n, 'method', 'POST', 'path', '/t/x/' || n),
       '192.0.2.7', n::text::xid8
  FROM generate_series(1, %(rows)s) AS n
"""


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    start_django()
    tenant, person = fresh_tenant()
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner:
        owner.execute(
            FILL.replace("%(rows)s", str(options.rows)), {"tenant": tenant.pk, "actor": getattr(person, "pk", None)}
        )
        owner.execute("VACUUM ANALYZE audit_logentry")

    from core import clock
    from reports import formats, services
    from reports.definitions import report_named, settle

    report, asked = report_named("refused-attempts"), settle(as_of=clock.now())
    values = formats.query_values(asked, platform=True)

    def ours(kind: str, path: Path) -> tuple[float, int]:
        began = time.perf_counter()
        with path.open("wb") as out:
            manifest = services.write_now(report=report, tenant=None, asked=asked, kind=kind, out=out)
        return time.perf_counter() - began, manifest["rows"]

    def bare(path: Path) -> float:
        with psycopg.connect(os.environ["DATABASE_OPERATOR_URL"]) as operator:
            query = psycopg.ClientCursor(operator).mogrify(report.sources, values)
        copy = f"COPY ({query}) TO STDOUT (FORMAT csv, HEADER)"
        began = time.perf_counter()
        with path.open("wb") as out:
            subprocess.run(["psql", "-Xq", os.environ["DATABASE_OPERATOR_URL"], "-c", copy], check=True, stdout=out)
        return time.perf_counter() - began

    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report"
        base, rows = statistics.median(bare(path) for _ in range(options.rounds)), 0
        for kind in ("csv", "jsonl", "html", "xlsx"):
            before = peak_mb()
            times = []
            for _ in range(options.rounds if kind == "csv" else 1):
                took, rows = ours(kind, path)
                times.append(took)
            size, took = path.stat().st_size / 1e6, statistics.median(times)
            grown = f"{peak_mb() - before:.0f} MB"
            found.append([kind, f"{rows:,}", f"{size:.0f} MB", f"{took:.1f} s", f"{took / base:.2f}", grown])
    head = f"PostgreSQL's own COPY of the same query to a file: {base:.1f} s.\n\n"
    body = head + table(["format", "rows", "file", "time", "ratio to COPY", "peak memory grew by"], found)
    save("reports", command=f"script/bench reports --rows {options.rows}", title="What a report costs", body=body)


if __name__ == "__main__":
    main()
