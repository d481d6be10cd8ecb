"""Data tables, variables and packages of two environments side by side, for the mapping page. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from .surroundings import DataTable, Surroundings


class Pair(msgspec.Struct, frozen=True):
    """One thing of the source and what the target has of it.

    ``state``: in_sync, differs, failed (missing) or unknown; ``text`` says it to a person.
    """

    name: str
    state: str
    text: str
    source: str = ""
    target: str = ""
    source_id: str = ""


class Group(msgspec.Struct, frozen=True):
    """All of one kind; ``why`` is set where a side is not known."""

    kind: str
    title: str
    pairs: tuple[Pair, ...] = ()
    why: str = ""


def groups(
    source: Surroundings, target: Surroundings, mapped_tables: Mapping[str, tuple[str, str]] | None = None
) -> list[Group]:
    """Each kind in turn; ``mapped_tables`` maps a table's id of the source to id and name entered for the target."""
    return [
        _group("data_table", "Data tables", source, target, lambda: _tables(source, target, mapped_tables)),
        _group("variable", "Variables", source, target, lambda: _variables(source, target)),
        _group("package", "Community packages", source, target, lambda: _packages(source, target)),
    ]


def _group(
    kind: str, title: str, source: Surroundings, target: Surroundings, pairs: Callable[[], Iterable[Pair]]
) -> Group:
    field = f"{kind}s"
    for side, name in ((source, "source"), (target, "target")):
        if getattr(side, field) is None:
            why = side.why.get(field, "Not read yet: test the connection.")
            return Group(kind, title, (), f"The {name} is not known. {why}")
    return Group(kind, title, tuple(sorted(pairs(), key=lambda pair: (_ORDER.index(pair.state), pair.name))))


_ORDER = ("failed", "differs", "unknown", "in_sync")


def _tables(source: Surroundings, target: Surroundings, mapped: Mapping[str, tuple[str, str]] | None) -> Iterable[Pair]:
    for table in source.data_tables or ():
        entered = (mapped or {}).get(table.id)
        found = target.table(entered[0]) if entered else target.table_named(table.name)
        if found is not None:
            yield _compared_tables(table, found)
        else:
            text = f"Mapped to {entered[1]}, which is not there" if entered else "Missing"
            yield Pair(table.name, "failed", text, _columns(table), source_id=table.id)


def _compared_tables(table: DataTable, found: DataTable) -> Pair:
    types = {column.name: column.type for column in found.columns}
    lacking = [column.name for column in table.columns if types.get(column.name) != column.type]
    text = f"Lacks {', '.join(lacking)}" if lacking else "Same columns"
    return Pair(table.name, "differs" if lacking else "in_sync", text, _columns(table), found.name, table.id)


def _columns(table: DataTable) -> str:
    return ", ".join(f"{c.name} ({c.type})" for c in table.columns)


def _variables(source: Surroundings, target: Surroundings) -> Iterable[Pair]:
    there = {v.key: v.digest for v in target.variables or ()}
    for variable in source.variables or ():
        if variable.key not in there:
            yield Pair(variable.key, "failed", "Missing")
        elif there[variable.key] != variable.digest:
            yield Pair(variable.key, "differs", "Another value", target=variable.key)
        else:
            yield Pair(variable.key, "in_sync", "Same value", target=variable.key)


def _packages(source: Surroundings, target: Surroundings) -> Iterable[Pair]:
    there = {p.name: p.version for p in target.packages or ()}
    for package in source.packages or ():
        if package.name not in there:
            yield Pair(package.name, "failed", "Missing", package.version)
        elif there[package.name] != package.version:
            yield Pair(package.name, "differs", "Another version", package.version, there[package.name])
        else:
            yield Pair(package.name, "in_sync", "Same version", package.version, there[package.name])
