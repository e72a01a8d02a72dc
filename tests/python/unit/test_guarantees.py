"""The page of guarantees names tests that are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]


def proofs() -> list[list[str]]:
    """For each guarantee the names in its last column."""
    lines = (ROOT / "docs" / "guarantees.md").read_text().splitlines()
    rows = [line.split(" | ")[-1] for line in lines if line.startswith("| **")]
    return [re.findall(r"`(\w+)`", row) for row in rows]


def functions() -> set[str]:
    """Every function of the tests."""
    sources = [*(ROOT / "tests").rglob("*.rs"), *(ROOT / "tests").rglob("*.py")]
    return {name for path in sources for name in re.findall(r"(?:fn|def) (\w+)\(", path.read_text())}


def test_every_guarantee_names_the_tests_that_prove_it():
    assert len(proofs()) > 15
    assert [] not in proofs()


def test_every_test_that_a_guarantee_names_is_there():
    assert {name for names in proofs() for name in names} - functions() == set()
