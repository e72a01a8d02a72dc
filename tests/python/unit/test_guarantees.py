"""The page of guarantees names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]


def proofs() -> dict[str, list[str]]:
    """For each guarantee the tests that its section names."""
    sections = (ROOT / "docs" / "guarantees.md").read_text().split("\n### ")[1:]
    return {section.partition("\n")[0]: re.findall(r"^- `(\w+)`$", section, re.MULTILINE) for section in sections}


def functions() -> set[str]:
    """Every function of the tests."""
    sources = [*(ROOT / "tests").rglob("*.rs"), *(ROOT / "tests").rglob("*.py")]
    return {name for path in sources for name in re.findall(r"(?:fn|def) (\w+)\(", path.read_text())}


def test_every_guarantee_names_the_tests_that_prove_it():
    assert len(proofs()) > 15
    assert [guarantee for guarantee, tests in proofs().items() if not tests] == []


def test_every_test_that_a_guarantee_names_is_there():
    assert {name for names in proofs().values() for name in names} - functions() == set()
