# ruff: noqa: ICN001, INP001, T201, S101, S314 - a script that prints, and reads XML that our own test runners wrote
"""Run every check of the repository, whatever the others say, and close with the counts over all of them.

Each step is a target of the Makefile, where its command is; here is only the order, how a step's tests are counted, and
what a step that cannot run on this machine lacks. Needs nothing but the standard library, since the first step that can
fail is making the virtual environment.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / "target" / "reports"
STEP_SECONDS_MAX = 1800
"""A step that hangs is killed and counted as failed, so that the steps behind it are still heard."""


class Counts(NamedTuple):
    """What a step's tests did."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def plus(self, other: "Counts") -> "Counts":
        """Both together."""
        return Counts(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


@dataclass(frozen=True)
class Step:
    """One Makefile target; ``count`` reads its tests out of what it printed or wrote, ``needs`` names a program."""

    target: str
    count: Callable[[str], Counts] | None = None
    needs: str | None = None


def cargo_counts(output: str) -> Counts:
    """Closing lines: nextest's ``… tests run: 3 passed, 1 skipped``, cargo test's ``test result: ok. 3 passed; …``."""
    total = Counts()
    for line in re.sub(r"\x1b\[[0-9;]*m", "", output).splitlines():
        if "test result:" in line or re.search(r"\d+ tests? run:", line):
            found = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|ignored)", line)}
            skipped = found.get("skipped", 0) + found.get("ignored", 0)
            total = total.plus(Counts(found.get("passed", 0), found.get("failed", 0), skipped))
    return total


def junit_counts(report: str) -> Callable[[str], Counts]:
    """The test cases of a JUnit file, as pytest and node write it."""

    def count(_output: str) -> Counts:
        path = REPORTS / report
        return Counts() if not path.exists() else _cases(ElementTree.parse(path).getroot())

    return count


def _cases(root: ElementTree.Element) -> Counts:
    total = Counts()
    for case in root.iter("testcase"):
        failed = case.find("failure") is not None or case.find("error") is not None
        skipped = case.find("skipped") is not None
        total = total.plus(Counts(not failed and not skipped, failed, skipped and not failed))
    return total


STEPS = [
    Step("rust-fmt"),
    Step("rust-clippy"),
    Step("rust-clippy-python"),
    Step("rust-deny", needs="cargo-deny"),
    Step("rust-test", cargo_counts),
    Step("policy-oracle", cargo_counts),
    Step("schema-test", cargo_counts, needs="node"),
    Step("build"),
    Step("docs"),
    Step("python-ruff"),
    Step("python-mypy"),
    Step("python-stubtest"),
    Step("python-test", junit_counts("python.xml")),
    Step("outbox-rust", cargo_counts),
    Step("outbox-python", junit_counts("outbox.xml")),
    Step("client-test", junit_counts("clients.xml"), needs="node"),
    Step("browser-test", junit_counts("browser.xml"), needs="chromium"),
]

REST = [Step("chaos-everywhere")]
"""These run when they are named."""


class Outcome(NamedTuple):
    """How a step went."""

    step: Step
    counts: Counts
    seconds: float
    remark: str


def main() -> int:
    """Run the steps that were named, or all; 1 when anything failed."""
    named = sys.argv[1:]
    unknown = set(named) - {step.target for step in STEPS + REST}
    if unknown:
        print(f"no such step: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    shutil.rmtree(REPORTS, ignore_errors=True)
    wanted = [step for step in STEPS + REST if step.target in named] if named else STEPS
    outcomes = [run(step) for step in wanted]
    return close(outcomes)


def run(step: Step) -> Outcome:
    """Run one step, its output passed on as it comes."""
    if step.needs is not None and shutil.which(step.needs) is None:
        return Outcome(step, Counts(skipped=1), 0.0, f"skipped: {step.needs} is not installed")
    print(f"\n──── {step.target} " + "─" * (90 - len(step.target)), flush=True)
    started = time.monotonic()
    code, output = _make(step.target)
    counts = step.count(output) if step.count is not None else Counts(passed=int(code == 0))
    if code != 0 and counts.failed == 0:
        counts = counts.plus(Counts(failed=1))
    return Outcome(step, counts, time.monotonic() - started, "" if code == 0 else f"FAILED, exit code {code}")


def _make(target: str) -> tuple[int, str]:
    command = ["make", "--no-print-directory", target]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", start_new_session=True,
    )  # fmt: skip
    previous = signal.signal(signal.SIGALRM, lambda *_: os.killpg(process.pid, signal.SIGKILL))
    signal.alarm(STEP_SECONDS_MAX)
    lines = []
    assert process.stdout is not None
    try:
        for line in process.stdout:
            lines.append(line)
            print(line, end="", flush=True)
        return process.wait(), "".join(lines)
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGTERM)
        raise
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def close(outcomes: list[Outcome]) -> int:
    """The table of steps, then the one line that machines read."""
    print("\n" + "─" * 96)
    total = Counts()
    for step, counts, seconds, remark in outcomes:
        total = total.plus(counts)
        figures = f"{counts.passed:5} passed {counts.failed:3} failed {counts.skipped:3} skipped"
        print(f"{step.target:20} {figures} {seconds:7.1f} s  {remark}")
    print(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped", flush=True)
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
