"""Lists behind guardian's grants, at a million of them.

    script/bench grants [--tenants 1000] [--people 10000] [--grants 1000000] [--requests 200]

Each request is one of another person, warm process, server time with templates. Beside it stands what guardian's own
``get_objects_for_user`` takes for the same person on the same tables.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import time
import uuid
from collections.abc import Callable
from typing import Any

from .setup import save, start_django, table

LIMIT_MS = 60
HELD = ("view_tenant", "operate", "approve", "manage_tokens", "view_trail")


def fill(tenants: int, people: int, grants: int) -> tuple[list[tuple[uuid.UUID, str]], dict[uuid.UUID, list[int]]]:
    """Tenants, people, memberships and grants by COPY, as the owner; (id, slug) of tenants, places of people."""
    import psycopg
    from django.contrib.auth.models import Permission

    chance = random.Random(1)
    content = Permission.objects.filter(content_type__app_label="tenants", content_type__model="tenant")
    chosen = list(content.filter(codename__in=HELD).values_list("pk", flat=True))
    mark = f"{time.time_ns():x}"[-8:]
    made = [(uuid.uuid4(), f"bench-{mark}-{n}") for n in range(tenants)]
    persons = [uuid.uuid4() for _ in range(people)]
    each = max(1, grants // people // len(HELD))
    places = {person: chance.sample(range(tenants), each) for person in persons}
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"]) as owner:
        cursor = owner.cursor()
        tables = ("tenants", "users", "memberships", "tenant_grants", "environments")
        for name in tables:
            # COPY cannot be used under row security; this database is the benchmark's own.
            cursor.execute(f"ALTER TABLE {name} DISABLE TRIGGER USER, NO FORCE ROW LEVEL SECURITY")
        _copy(cursor, "tenants", [{"id": i, "slug": s, "name": s.title(), "status": "active"} for i, s in made])
        _copy(
            cursor,
            "users",
            [{"id": p, "email": f"p{n}-{mark}@example.org", "name": f"Person {n}"} for n, p in enumerate(persons)],
        )
        rows = [(p, made[t][0]) for p, held in places.items() for t in held]
        _copy(
            cursor,
            "memberships",
            [{"id": uuid.uuid4(), "user_id": p, "tenant_id": t, "role": "operator"} for p, t in rows],
        )
        with cursor.copy("COPY tenant_grants (user_id, content_object_id, permission_id) FROM STDIN") as out:
            for person, tenant in rows:
                for permission in chosen:
                    out.write_row((person, tenant, permission))
        environments = [
            {"id": uuid.uuid4(), "tenant_id": i, "name": kind.title(), "slug": kind, "kind": kind, "position": n}
            for i, _ in made
            for n, kind in enumerate(("dev", "staging", "production"))
        ]
        _copy(cursor, "environments", environments)
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for name in tables:
            cursor.execute(f"ALTER TABLE {name} ENABLE TRIGGER USER")
            if name != "users":
                cursor.execute(f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY")
        owner.commit()
        owner.autocommit = True
        cursor.execute("ANALYZE")
    return made, places


def _copy(cursor: Any, name: str, rows: list[dict[str, Any]]) -> None:
    """COPY rows; what they leave out is filled from the model's defaults."""
    from django.apps import apps
    from django.db.models import NOT_PROVIDED

    from core import clock

    model = next(m for m in apps.get_models() if m._meta.db_table == name and m._meta.managed)
    defaults: dict[str, Any] = {}
    for field in model._meta.local_fields:
        if field.column in rows[0] or field.null:
            continue
        if field.default is not NOT_PROVIDED:
            defaults[field.column] = field.get_default()
        elif hasattr(field, "auto_now_add"):
            defaults[field.column] = clock.now()
        else:
            defaults[field.column] = ""
    columns = [*rows[0], *defaults]
    extra = [_plain(value) for value in defaults.values()]
    with cursor.copy(f"COPY {name} ({', '.join(columns)}) FROM STDIN") as out:
        for row in rows:
            out.write_row([*row.values(), *extra])


def _plain(value: Any) -> Any:
    import orjson

    return orjson.dumps(value).decode() if isinstance(value, dict | list) else value


def measure(act: Callable[[uuid.UUID], Any], people: list[uuid.UUID]) -> tuple[float, float]:
    """Milliseconds: median and 95th percentile, after two to warm up."""
    for person in people[:2]:
        act(person)
    taken = []
    for person in people[2:]:
        began = time.perf_counter()
        act(person)
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken), statistics.quantiles(taken, n=20)[18]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tenants", type=int, default=1000)
    parser.add_argument("--people", type=int, default=10_000)
    parser.add_argument("--grants", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=200)
    options = parser.parse_args()
    start_django()
    began = time.monotonic()
    tenants, places = fill(options.tenants, options.people, options.grants)
    filled = time.monotonic() - began
    asked = random.Random(2).sample(list(places), options.requests + 2)
    rows = [[name, *_numbers(*measure(act, asked))] for name, act in acts(tenants, places, asked).items()]
    from tenants.models import TenantUserObjectPermission
    from tenants.scope import platform_scope

    with platform_scope():
        held = TenantUserObjectPermission.objects.count()
    said = (
        f"{options.tenants:,} tenants, {options.people:,} people, {held:,} grants, made in {filled:.0f} s."
        f" {options.requests} requests of as many people, in the process, templates included."
    )
    head = ["list", "p50 ms", "p95 ms", f"p95 ≤ {LIMIT_MS} ms"]
    body = f"{said}\n\n{table(head, rows)}"
    save("grants", command="script/bench grants", title="Lists behind guardian's grants", body=body)


def _numbers(p50: float, p95: float) -> list[str]:
    return [f"{p50:.1f}", f"{p95:.1f}", "met" if p95 <= LIMIT_MS else "**missed**"]


def acts(
    tenants: list[tuple[uuid.UUID, str]], places: dict[uuid.UUID, list[int]], asked: list[uuid.UUID]
) -> dict[str, Callable[..., Any]]:
    """What is measured, by name."""
    from django.conf import settings
    from django.test import Client
    from guardian.shortcuts import get_objects_for_user  # noqa: TID251 - the peer

    from tenants.models import Tenant, User
    from tenants.scope import platform_scope
    from tenants.tokens import create_token

    clients: dict[uuid.UUID, tuple[Client, dict[str, str]]] = {}

    def person(ident: uuid.UUID) -> tuple[Client, dict[str, str]]:
        if ident not in clients:
            client = Client()
            user = User.objects.get(pk=ident)
            client.force_login(user, backend=settings.AUTHENTICATION_BACKENDS[0])
            clients[ident] = client, {"Authorization": f"Bearer {create_token(user=user, name='bench')[1]}"}
        return clients[ident]

    for ident in asked:
        person(ident)

    def page(tail: str) -> Callable[[uuid.UUID], Any]:
        def ask(ident: uuid.UUID) -> None:
            client, _ = person(ident)
            answer = client.get(f"/t/{tenants[places[ident][0]][1]}/{tail}")
            assert answer.status_code == 200, (tail, answer.status_code)

        return ask

    def call(path: str) -> Callable[[uuid.UUID], Any]:
        def ask(ident: uuid.UUID) -> None:
            client, headers = person(ident)
            answer = client.get(path.format(tenant=tenants[places[ident][0]][1]), headers=headers)
            assert answer.status_code == 200, (path, answer.content)

        return ask

    def home(ident: uuid.UUID) -> None:
        assert person(ident)[0].get("/", follow=True).status_code == 200

    def guardian(ident: uuid.UUID) -> None:
        with platform_scope():
            found = get_objects_for_user(
                User.objects.get(pk=ident), "tenants.view_tenant", klass=Tenant, accept_global_perms=False
            )
            list(found[:50])

    return {
        "home: the tenants a person may see": home,
        "page: environments of a tenant": page("environments/"),
        "page: members of a tenant": page("members/"),
        "page: matrix of a tenant": page(""),
        "page: jobs of a tenant": page("jobs/"),
        "REST: tenants": call("/api/v1/tenants"),
        "REST: environments of a tenant": call("/api/v1/environments?tenant={tenant}"),
        "peer: guardian's get_objects_for_user, 50 tenants": guardian,
    }


if __name__ == "__main__":
    main()
