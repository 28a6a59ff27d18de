"""The compatibility table: which features of the client were tested, made from the tests that passed.

A test says what it shows with ``@pytest.mark.feature("area", "feature")``. ``pytest tests/wire
--write-compatibility`` writes the table; an ordinary test compares the committed table with the markers.
"""

from __future__ import annotations

import ast
from importlib.metadata import version
from pathlib import Path

TESTS = Path(__file__).parent
TABLE = TESTS.parent.parent / "docs" / "reference" / "compatibility.md"

Feature = tuple[str, str]


def marked_features() -> set[Feature]:
    """Every feature that a test in this folder is marked with, read from the source."""
    found: set[Feature] = set()
    for path in sorted(TESTS.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "feature"
            ):
                area, text = (ast.literal_eval(argument) for argument in node.args)
                found.add((area, text))
    return found


def listed_features(table: str) -> dict[Feature, bool]:
    """The features in a table, and whether they work."""
    found: dict[Feature, bool] = {}
    area = ""
    for line in table.splitlines():
        if line.startswith("## "):
            area = line[3:].strip()
        elif line.startswith("| ") and not line.startswith("| Feature "):
            _, text, works, _ = line.split("|")
            found[area, text.strip()] = works.strip() == "yes"
    return found


def update(passed: dict[Feature, bool]) -> None:
    """Write the table anew: what was tested now, and what is still marked and was tested before."""
    before = listed_features(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {}
    marked = marked_features()
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    TABLE.write_text(
        render({feature: ok for feature, ok in {**before, **passed}.items() if feature in marked}),
        encoding="utf-8",
    )


def render(passed: dict[Feature, bool]) -> str:
    """The table as Markdown; a feature is marked as working when every test of it passed."""
    lines = [
        "# Compatibility with the client",
        "",
        "What was seen to work with the unmodified client against a running server. This page is written by",
        "the tests (`pytest tests/wire --write-compatibility`).",
        "",
        f"Client: `qiskit-ibm-runtime` {version('qiskit-ibm-runtime')}, `qiskit` {version('qiskit')}.",
    ]
    for area in sorted({area for area, _ in passed}):
        lines += ["", f"## {area}", "", "| Feature | Works |", "|---|---|"]
        lines += [
            f"| {text} | {'yes' if ok else 'no'} |" for (a, text), ok in sorted(passed.items()) if a == area
        ]
    return "\n".join(lines) + "\n"
