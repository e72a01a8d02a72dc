"""Processes are killed and stopped, connections cut and held up, and every subscriber still gets what it is owed.

The same seed each time, so that a red run says something about a change; `make chaos` takes others, and longer.
"""

import os

import pytest

from chaos.checker import WRONGS, Heard, Transcript, check, without
from chaos.run import Plan, Report, run
from rig.postgres import Cluster

pytestmark = pytest.mark.timeout(400)

SECONDS = float(os.environ.get("CHAOS_SECONDS", "20"))


async def test_whatever_is_killed_or_cut_everybody_gets_all_of_what_it_may_see_in_order_and_once(
    postgres: Cluster,
) -> None:
    seed = int(os.environ.get("CHAOS_SEED", str(4000 + postgres.major)))
    report = await run(postgres, Plan(seed, SECONDS, pause=0.5))
    print(report)
    assert report.clean, f"CHAOS_SEED={seed} on PostgreSQL {postgres.major}\n{report}"
    assert report.verdict.counts["checked"] > 100
    assert sum(report.faults.values()) > 5
    notices_what_is_changed_in(report)


def notices_what_is_changed_in(report: Report) -> None:
    """The same run with one event missing, twice, of another tenant, or late is not clean: the checker was awake."""
    longest = max(report.transcripts, key=lambda transcript: transcript.events)
    foreign = next(each for each in report.transcripts if each.view.owner != longest.view.owner and each.events > 3)
    place = max(range(len(longest.segments)), key=lambda number: len(longest.segments[number].heard))
    heard = longest.segments[place].heard
    middle = settled_place(report, longest, heard)
    stranger = next(each for segment in foreign.segments for each in segment.heard if each.told[3] is not None)
    for name, changed in {
        "lost": heard[:middle] + heard[middle + 1 :],
        "repeated": [*heard[: middle + 1], *heard[middle:]],
        "leaked": [*heard[:middle], stranger, *heard[middle:]],
        "disordered": [*heard[:middle], heard[middle + 1], heard[middle], *heard[middle + 2 :]],
    }.items():
        assert wrong(report, without(longest, place, changed)) == [name]


def settled_place(report: Report, transcript: Transcript, heard: list[Heard]) -> int:
    """About in the middle, but not where an administrator was at work: an error may excuse what is missing there."""
    spans, account = report.history.altered(transcript.view.table), report.history.account(transcript.view)
    positions = [[account.owed[place].lsn for place in account.places(each.told)] for each in heard]
    excused = [any(began <= lsn < end for began, end in spans for lsn in lsns) for lsns in positions]
    middle = len(heard) // 2
    settled = (place for place in range(1, len(heard) - 2) if not excused[place])
    return min(settled, key=lambda place: abs(place - middle), default=middle)


def wrong(report: Report, transcript: Transcript) -> list[str]:
    """What the checker says of it."""
    counts = check(report.history, [transcript]).counts
    return [name for name in WRONGS if counts[name]]
