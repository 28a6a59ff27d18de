"""Try other versions of the client against a server, and write ``docs/reference/older-clients.md``.

``python tests/wire/older PYTHON …``: each PYTHON is the interpreter of an environment of its own with some
version of ``qiskit-ibm-runtime``. Making them is left to whoever asks: it takes minutes and a package index.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from wire_lab import CLIENT_VARIABLES, Server, serving  # noqa: E402

PAGE = HERE.parents[2] / "docs" / "reference" / "older-clients.md"
CONFIG = '[[qpus]]\nname = "ket_manila"\ndevice = "manila"\n'
VERSION = "import qiskit_ibm_runtime as client; print(client.__version__)"
HEAD = """\
# Older clients

What other versions of `qiskit-ibm-runtime` were seen to do against a running server. This page is written by
`python tests/wire/older PYTHON …`, which runs one program with each of them. Version 0.51 is in
[Compatibility with the client](compatibility.md).

Versions before 0.49 can't be told where the token service is; they were run with
[three lines](../how-to/point-the-client-at-ketline.md#clients-before-049) that tell them. From 0.49 on
nothing was changed.
"""


def environment(server: Server, version: str) -> dict[str, str]:
    """How a version of the client finds the server."""
    base = {name: value for name, value in os.environ.items() if name not in CLIENT_VARIABLES}
    base |= {"QISKIT_IBM_TOKEN": server.key, "QISKIT_IBM_INSTANCE": server.instances()["default"]}
    if before_049(version):
        return base | {
            "HTTP_PROXY": server.url,
            "QISKIT_IBM_URL": "http://centre.example",
            "TOKEN_SERVICE": server.url,
        }
    return base | {
        "IAM_URL": server.url,
        "GLOBAL_SEARCH_URL": server.url,
        "GLOBAL_CATALOG_URL": f"{server.url}/catalog/api/v1",
        "QISKIT_IBM_URL": f"{server.url}/experimental/api/v1",
    }


def before_049(version: str) -> bool:
    """Whether the client doesn't know ``IAM_URL``."""
    return tuple(int(part) for part in version.split(".")[:2]) < (0, 49)


def tried(python: str, server: Server) -> dict[str, Any]:
    """What the story tells when an interpreter runs it."""
    version = subprocess.run(
        [python, "-c", VERSION], capture_output=True, text=True, check=True
    ).stdout.strip()
    done = subprocess.run(
        [python, str(HERE / "story.py")],
        env=environment(server, version),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if done.returncode:
        return {"client": version, "steps": {"connect": f"no: {done.stderr.strip().splitlines()[-1]}"}}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def page(results: list[dict[str, Any]]) -> str:
    """The table: a row for each step, a column for each version; what failed is told below it."""
    results = sorted(results, key=lambda found: [int(part) for part in found["client"].split(".")])
    steps = list(dict.fromkeys(step for found in results for step in found["steps"]))
    lines = [
        "| | " + " | ".join(found["client"] for found in results) + " |",
        "|---" * (len(results) + 1) + "|",
    ]
    for step in steps:
        cells = [found["steps"].get(step, "not reached").partition(":")[0] for found in results]
        lines.append(f"| {step} | {' | '.join(cells)} |")
    failures = [
        f"- {found['client']}, {step}: {told}"
        for found in results
        for step, told in found["steps"].items()
        if told != "yes"
    ]
    return "\n".join([HEAD, *lines, *([""] if failures else []), *failures, ""])


def main(pythons: list[str]) -> int:
    """Try each, and write the page."""
    if not pythons:
        print(__doc__, file=sys.stderr)
        return 2
    with TemporaryDirectory() as folder, serving(Path(folder), CONFIG) as server:
        results = [tried(python, server) for python in pythons]
    PAGE.write_text(page(results), encoding="utf-8")
    print(page(results))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
