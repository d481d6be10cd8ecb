"""Data tables: columns with types, and rows."""

from __future__ import annotations

from typing import Any

from sandbox.records import new_id, now

from .calls import Answer, Request, message, page_of, reply

JSON = dict[str, Any]


def _table(request: Request) -> JSON | Answer:
    table_id = request.params["id"]
    if len(table_id) != 16:
        return message(400, 'request/params/dataTableId must match format "nanoid"')
    found = request.instance.data_tables.get(table_id)
    return found if found is not None else message(404, f"Could not find the data table: '{table_id}'")


def _shown(table: JSON) -> JSON:
    return {key: value for key, value in table.items() if key not in ("rows", "next_row")} | {"sizeBytes": 4096}


def _taken(request: Request, name: str) -> Answer | None:
    if any(table["name"] == name for table in request.instance.data_tables.values()):
        return message(409, f"Data table with name '{name}' already exists in this project")
    return None


def _column(table_id: str, raw: JSON, index: int) -> JSON:
    moment = now()
    return {
        "updatedAt": moment,
        "createdAt": moment,
        "id": new_id(),
        "dataTableId": table_id,
        "name": raw["name"],
        "type": raw["type"],
        "index": index,
    }


def list_data_tables(request: Request) -> Answer:
    return page_of(request, [_shown(table) for table in request.instance.data_tables.values()])


def create_data_table(request: Request) -> Answer:
    instance, body = request.instance, request.body
    if refusal := _taken(request, body["name"]):
        return refusal
    moment, table_id = now(), new_id()
    table: JSON = {
        "updatedAt": moment,
        "createdAt": moment,
        "id": table_id,
        "name": body["name"],
        "projectId": instance.owner.project_id,
        "columns": [_column(table_id, raw, index) for index, raw in enumerate(body["columns"])],
        "rows": [],
        "next_row": 1,
    }
    instance.data_tables[table_id] = table
    return reply(_shown(table), 201)


def get_data_table(request: Request) -> Answer:
    table = _table(request)
    return table if isinstance(table, Answer) else reply(_shown(table))


def update_data_table(request: Request) -> Answer:
    table = _table(request)
    if isinstance(table, Answer):
        return table
    if refusal := _taken(request, request.body["name"]):
        return refusal
    table |= {"name": request.body["name"], "updatedAt": now()}
    return reply(_shown(table))


def delete_data_table(request: Request) -> Answer:
    table = _table(request)
    if isinstance(table, Answer):
        return table
    del request.instance.data_tables[table["id"]]
    return Answer(204, b"")


def list_columns(request: Request) -> Answer:
    table = _table(request)
    return table if isinstance(table, Answer) else reply(table["columns"])


def create_column(request: Request) -> Answer:
    table = _table(request)
    if isinstance(table, Answer):
        return table
    name = request.body["name"]
    if any(column["name"] == name for column in table["columns"]):
        words = f"Data table column with name '{name}' already exists in data table '{table['name']}'"
        return message(409, words)
    column = _column(table["id"], request.body, len(table["columns"]))
    table["columns"].append(column)
    for row in table["rows"]:
        row[name] = None
    return reply(column, 201)


def delete_column(request: Request) -> Answer:
    table = _table(request)
    if isinstance(table, Answer):
        return table
    kept = [column for column in table["columns"] if column["id"] != request.params["columnId"]]
    if len(kept) == len(table["columns"]):
        return message(404, f"Could not find the column: '{request.params['columnId']}'")
    table["columns"] = [{**column, "index": index} for index, column in enumerate(kept)]
    return Answer(204, b"")


def list_rows(request: Request) -> Answer:
    table = _table(request)
    return table if isinstance(table, Answer) else page_of(request, table["rows"])


def insert_rows(request: Request) -> Answer:
    table = _table(request)
    if isinstance(table, Answer):
        return table
    names = [column["name"] for column in table["columns"]]
    unknown = [name for raw in request.body["data"] for name in raw if name not in names]
    if unknown:
        return message(400, f"Validation error with data table request: unknown column name '{unknown[0]}'")
    made = [_inserted(table, {name: raw.get(name) for name in names}) for raw in request.body["data"]]
    kind = request.body.get("returnType", "count")
    if kind == "count":
        return reply({"success": True, "insertedRows": len(made)})
    return reply(made if kind == "all" else [{"id": row["id"]} for row in made])


def _inserted(table: JSON, values: JSON) -> JSON:
    moment = now()
    row = {**values, "id": table["next_row"], "createdAt": moment, "updatedAt": moment}
    table["next_row"] += 1
    table["rows"].append(row)
    return row
