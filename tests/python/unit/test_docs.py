"""README, docs and the pages beside the code: their links lead somewhere, and the reference is complete.

`make docs` builds the site and checks the links between its pages. These tests check what the builder does not:
pages outside the site, references from the sources, examples in prose, and the reference against the code.
"""

import ast
import json
import re
import shlex
from dataclasses import fields
from functools import cache
from pathlib import Path

import graphql
import pytest

import rowcast
from rowcast.cli import parser
from rowcast.declare.declaration import Declaration
from rowcast.limits import RequestLimits
from rowcast.settings import _LIMITED, Settings
from rowcast.source import CAPTURE_VARIABLE, SLOT_VARIABLE, VARIABLE

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *DOCS.rglob("*.md"),
        *(ROOT / folder / "README.md" for folder in ("tests", "benches", "fuzz")),
    ]
)
SOURCES = sorted(
    path
    for folder, suffix in [("src", "rs"), ("python", "py"), ("python", "pyi"), ("sql", "sql"), ("examples", "py")]
    for path in (ROOT / folder).rglob(f"*.{suffix}")
)
FOLDERS = "src|python|sql|tests|benches|examples|scripts|fuzz|migrations|docs"

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
NAMED_PATH = re.compile(rf"`(?P<path>(?:{FOLDERS})/[\w./-]*)`")
NAMED_PAGE = re.compile(r"\b(?P<path>docs/[\w/-]+\.md)(?:#(?P<anchor>[\w-]+))?")


def relative(path: Path) -> str:
    """For messages and ids."""
    return str(path.relative_to(ROOT))


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return FENCE.sub("", page.read_text())


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page's headings that GitHub and the site agree on."""
    found = []
    for heading in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE):
        text = re.sub(r"[^\w\s-]", "", LINK.sub("", heading)).strip().lower()
        on_github, on_site = text.replace(" ", "-"), re.sub(r"[-\s]+", "-", text)
        if on_github == on_site:
            found.append(on_site)
    return frozenset(found)


def broken(page: Path) -> list[str]:
    """The relative links of a page that lead nowhere."""
    found = []
    for target in (match["target"] for match in LINK.finditer(prose(page))):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            found.append(target)
    return found


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_link_of_a_page_leads_somewhere(page):
    assert broken(page) == []


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_path_that_a_page_names_exists(page):
    named = {match["path"] for match in NAMED_PATH.finditer(prose(page))}
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_every_page_that_the_sources_name_exists():
    wrong = [
        f"{relative(source)}: {match[0]}"
        for source in SOURCES
        for match in NAMED_PAGE.finditer(source.read_text())
        if not (ROOT / match["path"]).exists()
        or (match["anchor"] and match["anchor"] not in anchors(ROOT / match["path"]))
    ]
    assert wrong == []


def test_every_page_is_in_the_navigation_once():
    navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    named = re.findall(r": ([\w/-]+\.md)$", navigation, re.MULTILINE)
    assert sorted(named) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def examples(language: str) -> list[tuple[str, str]]:
    """Every block in this language, with the page it is on."""
    found = [(relative(page), block) for page in PAGES for block in FENCE.finditer(page.read_text())]
    return [(page, block["text"]) for page, block in found if block["language"] == language]


def test_every_example_in_python_can_be_compiled():
    for page, text in examples("python"):
        compile(text, page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_every_name_of_rowcast_that_an_example_imports_exists():
    for page, text in examples("python"):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("rowcast"):
                module = __import__(node.module, fromlist=["_"])
                assert [each.name for each in node.names if not hasattr(module, each.name)] == [], page


def test_every_example_in_graphql_and_json_can_be_parsed():
    assert examples("graphql")
    for _, text in examples("graphql"):
        graphql.parse(text)
    for _, text in examples("json"):
        json.loads(text)


def test_every_command_of_rowcast_in_an_example_is_understood():
    lines = [line for _, text in examples("sh") for line in text.replace("\\\n", " ").splitlines()]
    commands = [shlex.split(line, comments=True) for line in lines if line.startswith("rowcast ")]
    assert len(commands) > 3
    for command in commands:
        parser().parse_args(command[1:])


def cells(text: str) -> list[str]:
    """The names in the first cells of tables."""
    first = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| `")]
    return [name for cell in first for name in re.findall(r"`([^`]+)`", cell)]


def reference(name: str) -> list[str]:
    """The names in the tables of a page of the reference."""
    return cells((REFERENCE / name).read_text())


def test_the_page_of_settings_has_every_setting_and_no_other():
    sections = (REFERENCE / "settings.md").read_text().split("\n## ")[1:]
    found = {section.partition("\n")[0]: cells(section) for section in sections}
    declarations, rates, variables = (found.pop(name) for name in ("Declarations", "Rates", "Environment variables"))
    names_of_the_manager_alone = {"database_url", "bus", "subscriptions"}
    named = sorted(name for names in found.values() for name in names)
    assert named == sorted({each.name for each in fields(Settings)} | names_of_the_manager_alone)
    assert sorted(declarations) == sorted({each.name for each in fields(Declaration)} - {"resolver"})
    assert rates == list(_LIMITED)
    assert {*variables} == {VARIABLE, CAPTURE_VARIABLE, SLOT_VARIABLE, "PG*"}


def test_the_page_of_input_limits_has_every_bound_of_a_request():
    page = (REFERENCE / "limits.md").read_text()
    assert [each.name for each in fields(RequestLimits) if f"`{each.name}`" not in page] == []


def test_the_page_of_metrics_has_every_metric_and_no_other():
    source = (ROOT / "src" / "metrics.rs").read_text()
    counted = re.findall(r"^    ([a-z_]+),$", source, re.MULTILINE)
    optional = re.findall(r"pub (\w+): OptionalMetric", source)
    assert sorted(reference("metrics.md")) == sorted([*counted, *optional])


def test_the_page_of_close_codes_has_every_code_that_the_engine_closes_with():
    source = (ROOT / "src" / "session" / "close.rs").read_text()
    codes = set(re.findall(r"CloseCode::\w+ => (\d{4}),", source))
    rows = re.findall(r"^\| ([\d, ]+) \|", (REFERENCE / "close-codes.md").read_text(), re.MULTILINE)
    # 1000 is sent only on behalf of `disconnect`, which the page describes below the table.
    assert {code for row in rows for code in row.split(", ")} == codes - {"1000"}


def test_the_page_of_sql_functions_has_their_signatures():
    sources = "\n".join(path.read_text() for path in (ROOT / "sql").rglob("*.sql"))
    declared = {
        " ".join(f"{name}({arguments})".split()).replace("( ", "(").replace(" )", ")")
        for name, arguments in re.findall(r"create or replace function (rowcast\.\w+)\(([^)]*)\)", sources)
    }
    documented = {cell for cell in reference("sql.md") if "(" in cell}
    assert len(documented) > 10
    assert documented - declared == set()


def test_the_page_of_the_command_line_has_every_command():
    (commands,) = (action.choices for action in parser()._actions if action.metavar == "COMMAND")
    named = {cell.split()[1] for cell in reference("command-line.md")}
    assert named == set(commands)


def test_the_page_of_the_python_api_has_every_public_name():
    page = (REFERENCE / "python.md").read_text()
    assert [name for name in rowcast.__all__ if not re.search(rf"\b{name}\b", page) and name != "__version__"] == []
