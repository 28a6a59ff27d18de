"""Links lead somewhere, every page is found from the start page, and examples are what they claim."""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer

from ketline.cli.main import app
from ketline.config import load
from ketline.planning.simulate import Load

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[str]:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    return [target for target in LINK.findall(text) if not re.match(r"[a-z]+:", target)]


def blocks(language: str) -> list[tuple[Path, str]]:
    return [
        (page, text)
        for page in PAGES
        for kind, text in BLOCK.findall(page.read_text(encoding="utf-8"))
        if kind == language
    ]


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_every_page_is_found_from_the_start_page() -> None:
    seen: set[Path] = set()
    left = [DOCS / "index.md"]
    while left:
        page = left.pop()
        if page in seen:
            continue
        seen.add(page)
        left += [
            target
            for link in links(page)
            if (target := (page.parent / link.partition("#")[0]).resolve()).suffix == ".md"
            and target.exists()
        ]
    assert {page for page in DOCS.rglob("*.md") if page not in seen} == set()


@pytest.mark.parametrize(
    ("page", "text"), blocks("toml"), ids=lambda v: v.name if isinstance(v, Path) else ""
)
def test_toml_is_what_it_says(page: Path, text: str, tmp_path: Path) -> None:
    parsed = tomllib.loads(text)
    if text.startswith("# ketline.toml") and 'driver = "lab"' not in text:
        file = tmp_path / "ketline.toml"
        file.write_text(text, encoding="utf-8")
        load(file)
    if text.startswith("# load.toml"):
        assert len(Load.model_validate(parsed).trace(seed=1).jobs) > 10
    assert parsed


@pytest.mark.parametrize(
    ("page", "text"), blocks("python"), ids=lambda v: v.name if isinstance(v, Path) else ""
)
def test_python_can_be_read_and_its_imports_exist(page: Path, text: str) -> None:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ketline"):
            module = __import__(node.module, fromlist=[alias.name for alias in node.names])
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module}.{alias.name}"


def commands() -> list[tuple[str, str]]:
    return [
        (page.name, line.removeprefix("$ "))
        for page, text in blocks("console")
        for line in text.splitlines()
        if line.startswith("$ ") and "ketline " in line
    ]


@pytest.mark.parametrize(("page", "line"), commands())
def test_commands_exist_with_their_options(page: str, line: str) -> None:
    inner = re.search(r"\$\((ketline [^)]*)\)", line)
    words = shlex.split(inner[1] if inner else line, comments=True)
    if words[0] != "ketline":
        pytest.skip("not a command of ours")
    command = typer.main.get_command(app)
    words = words[1:]
    while words and hasattr(command, "commands"):
        assert words[0] in command.commands, line
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    for word in words:
        if word.startswith("--"):
            assert word.partition("=")[0] in known, line
