"""Texts of other people in files that spreadsheets open."""

from __future__ import annotations

#: A spreadsheet takes a cell that begins with one of these for a formula; the wide forms mean the same.
FORMULA_STARTS = "=+-@\t\r\n＝＋－＠"


def harmless(column: str) -> str:
    """SQL: the text of a column under its own name, with an apostrophe before what would be a formula."""
    starts = ", ".join(f"chr({ord(sign)})" for sign in FORMULA_STARTS)
    return f"CASE WHEN left({column}, 1) IN ({starts}) THEN '''' ELSE '' END || {column} AS {column}"
