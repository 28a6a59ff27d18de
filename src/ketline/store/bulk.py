"""Statements that are run many times a second, for many rows or few.

SQLAlchemy prepares a statement and every row's values anew at each call, which costs several times what the
database does with them. These are rendered once and handed to the driver as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.compiler import SQLCompiler

Row = Mapping[str, Any]


class Bulk:
    """One statement, run for each of many rows.

    A row holds a value for every name in the statement; ``columns`` are those that are inserted or set.
    Values go to the driver unchanged, so they must be of kinds that every driver takes: texts, numbers, truth
    values and None.
    """

    def __init__(self, statement: sa.ClauseElement, columns: Sequence[str]) -> None:
        self._statement = statement
        self._columns = tuple(columns)
        self._rendered: dict[str, tuple[str, Callable[[Row], Any]]] = {}

    def run(self, connection: sa.Connection, rows: Sequence[Row]) -> None:
        """Run it for all rows, inside the transaction that is open."""
        rendered = self._rendered.get(connection.dialect.driver)
        if rendered is None:
            rendered = self._render(connection.dialect)
            self._rendered[connection.dialect.driver] = rendered
        sql, values = rendered
        connection.exec_driver_sql(sql, [values(row) for row in rows])

    def _render(self, dialect: sa.Dialect) -> tuple[str, Callable[[Row], Any]]:
        compiled = self._statement.compile(dialect=dialect, column_keys=self._columns)
        assert isinstance(compiled, SQLCompiler)
        if compiled.positiontup is None:
            return str(compiled), dict
        return str(compiled), itemgetter(*compiled.positiontup)
