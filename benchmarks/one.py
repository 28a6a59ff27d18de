"""Run one benchmark as a script of its own and write its rows as JSON.

A script, and not a module run by ``-m``: the client looks at the whole call stack in every request, which
takes it several times longer where the stack holds frames of Python's own import machinery.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from importlib import import_module
from pathlib import Path


def main() -> None:
    """``python benchmarks/one.py NAME FILE``."""
    name, file = sys.argv[1:]
    module = import_module(f"benchmarks.{name}")
    rows = [dataclasses.asdict(row) for row in module.main()]
    Path(file).write_text(json.dumps(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
