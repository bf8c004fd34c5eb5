"""Tests of the documentation: generated pages are current, links lead somewhere, commands exist."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from backend.cli.app import app
from backend.settings import Settings
from docs import generate
from tests.documents import PAGES, ROOT, commands, links, name_of
from tests.inprocess import api_description


@pytest.mark.parametrize("path", generate.PAGES)
def test_generated_pages_are_current(path: str) -> None:
    """`python -m docs.generate` would change no page."""
    assert (generate.DOCS / path).read_text() == generate.PAGES[path]()


@pytest.mark.parametrize(("path", "name"), generate.TABLES)
def test_generated_tables_are_current(path: str, name: str) -> None:
    """`python -m docs.generate` would change no table in README and in the results."""
    text = (ROOT / path).read_text()
    content = generate.TABLES[path, name]()
    assert content in text
    assert generate.replaced(text, name, content) == text


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_exist(page: Path) -> None:
    """Each relative link of a page names a file."""
    assert [target for target in links(page) if not (page.parent / target).resolve().exists()] == []


def test_every_page_is_in_the_contents() -> None:
    """The table of contents has each page, so that readers can find it."""
    index = (ROOT / "docs" / "index.md").read_text()
    pages = {str(page.relative_to(ROOT / "docs").with_suffix("")) for page in PAGES if ROOT / "docs" in page.parents}
    assert pages - {"index"} == set(re.findall(r"^[a-z-]+(?:/[a-z-]+)?$", index, re.MULTILINE))


@pytest.mark.parametrize("command", commands())
def test_commands_exist(command: str) -> None:
    """Each `blockhf` command in the pages has a known name, known options and valid values."""
    words = shlex.split(command)
    found: Any = typer.main.get_command(app)
    context = typer.Context(found)
    while hasattr(found, "get_command") and words:
        found = found.get_command(context, name := words.pop(0))
        assert found is not None, name
    if "--help" not in words and "--version" not in words:
        found.make_context(command, words)


def test_named_variables_exist() -> None:
    """Each variable that a page names is a setting."""
    known = {f"BLOCKHF_{name.upper()}" for name in Settings.model_fields} | {"BLOCKHF_HOME"}
    pages = [page for page in PAGES if page.name != "settings.md"]
    named = {name for page in pages for name in re.findall(r"BLOCKHF_[A-Z_]+[A-Z]", page.read_text())}
    assert named <= known


def test_curl_calls_exist() -> None:
    """Each call of the REST tutorial is a path of the API."""
    text = (ROOT / "docs" / "tutorials" / "rest.md").read_text()
    called = re.findall(r"127\.0\.0\.1:8700(/api/v1[^\s'\"?]*)", text)
    patterns = [re.sub(r"\{\w+\}", "[^/]+", path) for path in api_description()["paths"]]
    assert len(called) == 5
    assert [path for path in called if not any(re.fullmatch(pattern, path) for pattern in patterns)] == []
