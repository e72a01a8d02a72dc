"""A lab for each test, on each PostgreSQL version; modules that need only one override the fixture."""

from collections.abc import Iterator

import pytest

from rig.lab import Lab, laboratory
from rig.postgres import Database


@pytest.fixture
def lab(database: Database) -> Iterator[Lab]:
    """A server of this test's own."""
    with laboratory(database) as lab:
        yield lab
