"""The reference is what the code says, and nothing in the code is missing from it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ketline.cli.reference import PAGES
from ketline.cli.reference.__main__ import main
from ketline.cli.reference.endpoints import operations
from ketline.config import Centre
from ketline.core.lifecycle import JOB_TABLE, WORKLOAD_TABLE
from ketline.errors import REGISTRY
from ketline.planning.simulate import Load
from ketline.planning.synthetic import Stream
from ketline.planning.trace import COLUMNS
from ketline.planning.workload import Workload

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_up_to_date(name: str) -> None:
    assert (REFERENCE / name).read_text(encoding="utf-8") == PAGES[name](), "run `make docs`"


def test_every_setting_is_described() -> None:
    page = PAGES["settings.md"]()
    schema = Centre.model_json_schema()
    for table in schema["$defs"].values():
        for key, field in table["properties"].items():
            assert field.get("description"), key
            assert f"| `{key}` |" in page
    for name in schema["properties"]:
        assert re.search(rf"^## `\[+{name}[.\]]", page, re.MULTILINE), name


def test_every_error_is_described() -> None:
    page = PAGES["errors.md"]()
    for code, kind in REGISTRY.items():
        assert f"\n## {code}\n\n**{kind.title}.**" in page


def test_every_endpoint_is_described() -> None:
    page = PAGES["endpoints.md"]()
    for operation in operations():
        (method,) = operation.methods or ()
        assert f"| `{method} {operation.path}` |" in page
        assert (operation.answer.__doc__ or "").strip(), operation.path


def test_every_step_of_both_lives_is_in_the_tables() -> None:
    page = PAGES["states.md"]()
    jobs, workloads = page.split("## Sessions and batches")

    def ways(text: str) -> int:
        rows = [line.split("|")[2:-1] for line in text.splitlines() if line.startswith("| **")]
        return sum(bool(cell.strip()) for row in rows for cell in row)

    assert ways(jobs) == len(JOB_TABLE)
    assert ways(workloads) == len(WORKLOAD_TABLE)


def test_every_key_and_column_of_the_planner_is_described() -> None:
    page = PAGES["planning.md"]()
    for name in (*COLUMNS, *Workload.model_fields, *Load.model_fields, *Stream.model_fields):
        assert f"| `{name}` |" in page
    assert "|  |\n" not in page


def test_check_tells_what_is_stale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0
    (tmp_path / "errors.md").write_text("old")
    (tmp_path / "cli.md").unlink()
    assert main(["--check", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert "errors.md" in told
    assert "cli.md" in told
    assert "settings.md" not in told
    assert main([]) == 2
