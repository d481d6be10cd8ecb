"""Creates what the target lacks: stubs of credentials, data tables, columns. Each with intent and result, then proven.

A stub holds no secret: a person enters it in n8n, and until then the gate says so. Rows of a data table are copied only
when asked, into a table that this very job made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from core import clock
from core.documents import convert
from core.errors import OpsError
from operations.effects import Effect, ProbeResult
from operations.engine import Run
from promotions.planning.documents import ColumnToCreate
from promotions.planning.offers import COLUMNS, STUB, TABLE, ChosenOffer, CredentialInTarget
from workflows import credentials, stubs, surroundings
from workflows.gateway import client_for
from workflows.models import Environment, KnownCredential
from workflows.n8n import N8nClient, errors
from workflows.writes.effects import to_n8n

ROWS_AT_ONCE = 100
ROWS_AT_MOST = 10_000


class Preparation:
    """One run of it. Parameters: ``promotion_id``, ``offers`` (a list of ``ChosenOffer``), ``rows``."""

    def __init__(self, run: Run, source: Environment, target: Environment) -> None:
        self.run, self.source, self.target = run, source, target

    def carry_out(self) -> dict[str, Any]:
        """``made``: what was created, in order. ``worklist``: those of it whose secret a person must enter.

        ``left``: credentials of a type that the target does not know.
        """
        made: list[dict[str, Any]] = []
        with client_for(self.target) as client:
            for offer in convert(self.run.params["offers"], list[ChosenOffer]):
                made.append(_MAKERS[offer.do](self, client, offer))
                if offer.do == TABLE and self.run.params.get("rows"):
                    made.append(self._rows(client, offer, made[-1]["id"]))
        self.run.step("look", f"Look at {self.target.name} again", self._look)
        left = [row for row in made if "why" in row]
        made = [row for row in made if "why" not in row]
        return {"made": made, "worklist": [row for row in made if row.get("needs_secret")], "left": left}

    def _look(self) -> dict[str, Any]:
        return {"reached": surroundings.refresh(self.target).reached}

    def _effect(
        self, name: str, title: str, path: str, act: Callable[[], Any], look: Callable[[dict[str, Any]], ProbeResult]
    ) -> dict[str, Any]:
        call = to_n8n(self.target, "", title, method="POST", path=path)
        found: dict[str, Any] = self.run.effect(Effect(name[:200], title, {"path": path}, act, look, call))
        return found

    def stub(self, client: N8nClient, offer: ChosenOffer) -> dict[str, Any]:
        """A credential of the right type and name without its secrets, mapped to the source's."""
        kind, name = offer.type or "", offer.name or ""
        if not self.run.step(
            f"type:{kind}"[:200], f"Ask n8n for the type {kind}", lambda: stubs.is_known(client, kind)
        ):
            why = f"{self.target.name} knows no credentials of the type {kind}: install the package that brings it."
            return {"do": STUB, "name": name, "type": kind, "why": why}
        made = stubs.make_stub(self.run, client, self.target, kind=kind, name=name)
        with self.run.fenced():
            for source in offer.sources:
                credentials.save_mapping(
                    tenant_id=self.target.tenant_id,
                    source_environment_id=self.source.pk,
                    target_environment_id=self.target.pk,
                    pair=credentials.CredentialPair(
                        credential_type=kind,
                        source_name=source.name,
                        source_credential_id=source.id,
                        target_name=name,
                        target_credential_id=made.id,
                    ),
                    by=self.run.operation.requested_by,
                )
        return {"do": STUB, "needs_secret": True, **msgspec.to_builtins(made)}

    def table(self, client: N8nClient, offer: ChosenOffer) -> dict[str, Any]:
        """A data table of the source's name and columns."""
        name = offer.name or ""

        def row(table_id: str) -> dict[str, Any]:
            return {"do": TABLE, "id": table_id, "name": name}

        def act() -> dict[str, Any]:
            body = {"name": name, "columns": msgspec.to_builtins(offer.columns or ())}
            return row(str(client.call("POST", "/data-tables", body=body).json()["id"]))

        def look(_intent: dict[str, Any]) -> ProbeResult:
            found = [t for t in client.all_of("/data-tables") if t.get("name") == name]
            return ProbeResult.done(row(str(found[0]["id"]))) if found else ProbeResult.not_done()

        return self._effect(f"table:{name}", f"Create the data table “{name}”", "/data-tables", act, look)

    def columns(self, client: N8nClient, offer: ChosenOffer) -> dict[str, Any]:
        """The columns that a data table of the target lacks."""
        table_id, name, wanted = offer.table_id or "", offer.name or "", offer.columns or ()
        for column in wanted:
            self._column(client, table_id, name, column)
        return {"do": COLUMNS, "id": table_id, "name": name, "columns": [column.name for column in wanted]}

    def _column(self, client: N8nClient, table_id: str, table_name: str, column: ColumnToCreate) -> None:
        path = f"/data-tables/{quote(table_id, safe='')}/columns"

        def act() -> dict[str, Any]:
            client.call("POST", path, body={"name": column.name, "type": column.type})
            return {"column": column.name}

        def look(_intent: dict[str, Any]) -> ProbeResult:
            names = [found.get("name") for found in client.call("GET", path).json()]
            return ProbeResult.done({"column": column.name}) if column.name in names else ProbeResult.not_done()

        title = f"Add the column “{column.name}” to “{table_name}”"
        self._effect(f"column:{table_id}:{column.name}", title, path, act, look)

    def _rows(self, client: N8nClient, offer: ChosenOffer, target_id: str) -> dict[str, Any]:
        """The rows of a table that was just made, from the source."""
        name, path = offer.name or "", f"/data-tables/{quote(target_id, safe='')}/rows"
        source_id = self._source_table(name, offer)

        def act() -> dict[str, Any]:
            count = 0
            with client_for(self.source) as other:
                for batch in _row_batches(other, source_id):
                    self.run.check()
                    client.call("POST", path, body={"data": batch})
                    count += len(batch)
            return {"do": "copy_rows", "id": target_id, "name": name, "rows": count}

        def look(_intent: dict[str, Any]) -> ProbeResult:
            body = client.call("GET", path, params={"limit": 1}).json()
            if not body.get("data"):
                return ProbeResult.not_done()
            return ProbeResult.unknown(message="Some rows are there; look whether all are.")

        return self._effect(f"rows:{target_id}", f"Copy the rows of “{name}”", path, act, look)

    def _source_table(self, name: str, offer: ChosenOffer) -> str:
        here = surroundings.stored(self.source.tenant_id, self.source.pk)
        known = [here.table(source.id) for source in offer.sources]
        found = next((table for table in known if table), None) or here.table_named(name)
        if found is None:
            raise errors.RemoteNotFound(f"{self.source.name} does not list the data table “{name}”.")
        return found.id


_MAKERS: Mapping[str, Callable[[Preparation, N8nClient, ChosenOffer], dict[str, Any]]] = {
    STUB: Preparation.stub,
    TABLE: Preparation.table,
    COLUMNS: Preparation.columns,
}


def _row_batches(client: N8nClient, table_id: str) -> Iterable[list[dict[str, Any]]]:
    cursor, seen = None, 0
    while seen < ROWS_AT_MOST:
        params = {"limit": ROWS_AT_ONCE, "cursor": cursor}
        body = client.call("GET", f"/data-tables/{quote(table_id, safe='')}/rows", params=params).json()
        rows = [
            {key: value for key, value in row.items() if key not in ("id", "createdAt", "updatedAt")}
            for row in body.get("data") or ()
        ]
        if rows:
            yield rows
        seen, cursor = seen + len(rows), body.get("nextCursor")
        if not cursor or not rows:
            return
    raise OpsError(
        f"The data table has more than {ROWS_AT_MOST:,} rows; the first {ROWS_AT_MOST:,} were copied.",
        recovery="Export the rest in n8n of the source, and import it in the target.",
    )


def prove_credentials(run: Run, target: Environment, used: Iterable[CredentialInTarget]) -> dict[str, Any]:
    """Let n8n test each of ``used`` and keep what it says.

    ``state``: proven, failing, untestable (n8n has no test for the type) or not_tested (no answer).
    """
    found = []
    with client_for(target) as client:
        offered = client.spec().can("test_credential")
        for one in used:
            run.check()
            state, message = _test(client, one.id) if offered else ("not_tested", "This n8n tests none.")
            found.append({**one.to_json(), "state": state, "message": message})
            with run.fenced():
                KnownCredential.objects.filter(
                    environment_id=target.pk, credential_type=one.type, credential_id=one.id
                ).update(
                    test_state="" if state == "not_tested" else state,
                    test_message=message[:300],
                    tested_at=clock.now(),
                    **({"needs_secret": False} if state == "proven" else {}),
                )
    return {"credentials": found}


def _test(client: N8nClient, credential_id: str) -> tuple[str, str]:
    try:
        body = client.call("POST", f"/credentials/{quote(credential_id, safe='')}/test").json()
    except errors.N8nError as error:
        return "not_tested", error.message
    status, message = str(body.get("status") or ""), str(body.get("message") or "")
    if status.upper() == "OK":
        return "proven", message
    return ("untestable" if "no testing function" in message.lower() else "failing"), message
