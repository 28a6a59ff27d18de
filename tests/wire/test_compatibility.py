"""The compatibility table says what is tested, no more and no less."""

from __future__ import annotations

import ast
from pathlib import Path

import compatibility

CHECKS = set(range(1, 20))
"""The acceptance checks of the wire contract; the 20th, older clients, is `tests/wire/older`."""


def test_the_table_lists_exactly_the_tested_features():
    listed = compatibility.listed_features(compatibility.TABLE.read_text(encoding="utf-8"))
    assert set(listed) == compatibility.marked_features(), "run `pytest tests/wire --write-compatibility`"


def test_every_acceptance_check_has_a_test():
    found = {
        ast.literal_eval(node.args[0])
        for path in Path(__file__).parent.glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "check"
    }
    assert found == CHECKS


def test_the_table_is_read_as_it_is_written():
    features = {("A", "one"): True, ("B", "two `x`"): False}
    table = compatibility.render(features)
    assert compatibility.listed_features(table) == features
    assert "| one | yes |" in table
    assert "| two `x` | no |" in table
