"""The page of the planner's files: workloads, loads and traces."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from ketline.cli.reference.markdown import MADE_FROM, prose, table
from ketline.cli.reference.schemas import keys
from ketline.planning.simulate import Load
from ketline.planning.trace import COLUMNS, REQUIRED
from ketline.planning.workload import Workload

INTRODUCTION = """# Files of the planner

What `ketline plan`, `ketline simulate` and `ketline export` read and write. An unknown key or column, or a
value that makes no sense, is refused by its name.
"""
WORKLOAD = "`ketline plan FILE` reads a description of one workload."
LOAD = "`ketline simulate FILE` and `ketline plan --crowd FILE` read a synthetic load."
TRACE = """
## Trace

`ketline export` writes a trace, as CSV or Parquet; `ketline simulate` reads it. It has a row for every job
and for every session or batch. Times are seconds since the epoch (UTC).

"""


def page() -> str:
    """The whole page."""
    return "".join(
        (
            MADE_FROM.format(source="src/ketline/planning"),
            INTRODUCTION,
            _model("Workload", WORKLOAD, Workload),
            _model("Load", LOAD, Load),
            TRACE,
            table(("column", "needed", "meaning"), (_column(name) for name in COLUMNS)),
        )
    )


def _model(heading: str, introduction: str, model: type[BaseModel]) -> str:
    schema: dict[str, Any] = model.model_json_schema()
    parts = [f"\n## {heading}\n\n{introduction} {prose(schema['description'])}\n\n", keys(schema)]
    inner = schema.get("$defs", {})
    parts += [
        f"\n### {name}\n\n{prose(inner[name]['description'])}\n\n{keys(inner[name])}"
        for name in sorted(inner, key=lambda name: (name != "Stream", name))
    ]
    return "".join(parts)


def _column(name: str) -> tuple[str, str, str]:
    return f"`{name}`", "yes" if name in REQUIRED else "", COLUMNS[name]
