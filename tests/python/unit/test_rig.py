"""The guarantees of the rig that the other tests rely on."""

import sys

import pytest

from rig.server import Server

LINES, WORKERS = 500, 4

SCRIPT = f"""
import os
children = []
for _ in range({WORKERS - 1}):
    if not (child := os.fork()):
        children = []
        break
    children.append(child)
for number in range({LINES}):
    print(f"serving {{os.getpid()}} {{number}}", flush=True)
for child in children:
    os.waitpid(child, 0)
"""


def test_lines_of_workers_that_share_a_pipe_arrive_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the tests run with an unbuffered Python."""
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    server = Server([sys.executable, "-c", SCRIPT])
    assert server.process.wait(60) == 0
    server.stop()
    lines = [line.split() for line in server.output.splitlines()]
    assert len(lines) == LINES * WORKERS
    for pid in {line[1] for line in lines}:
        assert [line for line in lines if line[1] == pid] == [["serving", pid, str(number)] for number in range(LINES)]
