"""Write the reference pages into a folder, or with ``--check`` say which are stale."""

from __future__ import annotations

import sys
from pathlib import Path

from ketline.cli.reference import PAGES


def main(arguments: list[str]) -> int:
    """Write or check the pages; the exit code is 1 when a checked page is stale, 2 for wrong usage."""
    check = "--check" in arguments
    folders = [argument for argument in arguments if not argument.startswith("-")]
    if len(folders) != 1:
        print("usage: python -m ketline.cli.reference [--check] FOLDER", file=sys.stderr)
        return 2
    folder = Path(folders[0])
    stale = []
    for name, page in PAGES.items():
        path, text = folder / name, page()
        if check:
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                stale.append(str(path))
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    if stale:
        print(f"stale, run `make docs`: {', '.join(stale)}", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
