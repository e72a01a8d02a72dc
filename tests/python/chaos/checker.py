"""From what a subscriber was owed and what it got to a verdict: all of it, nothing else, in order, once.

A transcript is what one subscription heard, in segments: a segment begins afresh (from now on) or after a cursor. What
lies between a segment and a fresh one behind it was given up openly, and is counted as such; what lies between a
segment and one that resumes is owed. What committed while an administrator kept it from being captured may be missing,
if the subscription ends for it before it gets anything that committed after the administrator was done.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from chaos.history import END, Account, History, Row, Told, View

AFRESH = ("CURSOR_EXPIRED", "CURSOR_AHEAD", "GAP")
"""Codes that say openly that a cursor is of no more use."""


@dataclass
class Heard:
    """One event as it came."""

    told: Told
    cursor: str
    policies: int
    """How many changes of the policy had been begun when it came."""


@dataclass
class Segment:
    """What came between a subscribe and the end of it."""

    resumed: bool
    because: str
    """Why the segment began."""
    since: int | None = None
    """A fresh segment has everything that committed at or after this position, if that was found out."""
    heard: list[Heard] = field(default_factory=list)
    end: str = ""
    """Why it ended; nothing while it had not."""


@dataclass
class Transcript:
    """All that one subscription heard."""

    name: str
    view: View
    segments: list[Segment] = field(default_factory=list)

    @property
    def events(self) -> int:
        """How many events."""
        return sum(len(segment.heard) for segment in self.segments)


WRONGS = ("lost", "repeated", "leaked", "invented", "disordered", "stale")
"""The last: everything owed came, in order and once, and yet a client that keeps a table by it has the wrong rows."""


@dataclass
class Verdict:
    """Counts over transcripts, and what was wrong in words."""

    counts: Counter[str] = field(default_factory=Counter)
    wrongs: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Nothing was wrong."""
        return not any(self.counts[wrong] for wrong in WRONGS)


def check(history: History, transcripts: Iterable[Transcript]) -> Verdict:
    """The verdict on all of them."""
    verdict = Verdict()
    for transcript in transcripts:
        Check(history, history.account(transcript.view), transcript, verdict).run()
    return verdict


class Check:
    """One transcript against its account."""

    def __init__(self, history: History, account: Account, transcript: Transcript, verdict: Verdict) -> None:
        self._history = history
        self._account = account
        self._transcript = transcript
        self._verdict = verdict
        self._place = 0
        """Where in the account the next event is expected."""
        self._had = 0
        """What lies behind the last event that came: what was owed before an open end may still come."""
        self._got: set[int] = set()
        self._altered = history.altered(transcript.view.table)
        self._missed: dict[int, int] = {}
        """What was missed while an administrator was at work, and the position up to which that has to be reported."""
        self._policies = 0
        self._where = ""
        self._wronged = False

    def run(self) -> None:
        """Segment by segment; the last has to have reached the end."""
        for number, segment in enumerate(self._transcript.segments):
            self._where = f"{self._transcript.name} segment {number} ({segment.because})"
            self._verdict.counts["resumed" if segment.resumed else "fresh"] += 1
            self._segment(segment)
        last = self._transcript.segments[-1] if self._transcript.segments else None
        if last is not None and not last.end:
            self._where += " at the end"
            self._policies = 1 << 30
            self._skip_to(len(self._account.owed))
            self._give_no_more_time(END)
            self._table()

    def _table(self) -> None:
        """What a client keeps by the documented rules is in the table; without a cursor it begins with nothing."""
        rows = self._history.rows(self._transcript.view)
        if rows is None or self._wronged:
            return
        for key, row in kept(self._transcript).items():
            self._verdict.counts["rows compared"] += 1
            if rows.get(key) != row:
                self._wrong("stale", f"row {key} is kept as {row} and is {rows.get(key)}")

    def _segment(self, segment: Segment) -> None:
        if not segment.resumed:
            self._begin(segment)
        for heard in segment.heard:
            self._verdict.counts["checked"] += 1
            self._policies = heard.policies
            self._event(heard.told)

    def _begin(self, segment: Segment) -> None:
        """A fresh segment may begin anywhere behind what was had before, but not behind what it has to have."""
        if not segment.because.endswith(AFRESH):
            self._give_no_more_time(END)
        self._verdict.counts["missed"] += len(self._missed)
        self._missed.clear()
        before = self._place
        bound = None if segment.since is None else max(self._had, self._account.first_at(segment.since))
        start = self._start(segment)
        if bound is not None and (start is None or start > bound):
            start = bound
        self._place = before if start is None else start
        if segment is not self._transcript.segments[0]:
            self._verdict.counts["given up"] += self._place - before

    def _start(self, segment: Segment) -> int | None:
        """Where the first of its events fit best."""
        if not segment.heard:
            return None
        places = [place for place in self._account.places(segment.heard[0].told) if place >= self._had]
        return max(places, key=lambda place: (self._fit(place, segment), place >= self._place, -place), default=None)

    def _fit(self, place: int, segment: Segment) -> int:
        following = self._account.owed[place : place + 5]
        return sum(
            event.says(heard.told, heard.policies) for event, heard in zip(following, segment.heard, strict=False)
        )

    def _event(self, told: Told) -> None:
        place = self._expected(told)
        if place is not None:
            self._skip_to(place)
            self._give_no_more_time(self._account.owed[place].lsn)
            self._got.add(place)
            self._place = self._had = place + 1
        else:
            self._unexpected(told)

    def _expected(self, told: Told) -> int | None:
        """The next place where this was owed."""
        owed = self._account.owed
        ahead = (place for place in self._account.places(told) if place >= self._place)
        return next((place for place in ahead if owed[place].says(told, self._policies)), None)

    def _skip_to(self, place: int) -> None:
        """What lies between was owed, unless a change of the policy excuses it."""
        for missed in range(self._place, place):
            event = self._account.owed[missed]
            if event.may_be_silent(self._policies):
                continue
            until = next((end for began, end in self._altered if began <= event.lsn < end), None)
            if until is None:
                self._lost(missed)
            else:
                self._missed[missed] = until
        self._place = place

    def _give_no_more_time(self, position: int) -> None:
        """What was missed and should have been reported before this position is lost."""
        for missed in [missed for missed, until in self._missed.items() if until <= position]:
            del self._missed[missed]
            self._lost(missed)

    def _lost(self, missed: int) -> None:
        event = self._account.owed[missed]
        self._wrong("lost", f"#{missed} {next(iter(event.outcomes.values()))} at {_lsn(event.lsn)}")

    def _unexpected(self, told: Told) -> None:
        behind = self._account.places(told)
        if any(place in self._got for place in behind):
            self._wrong("repeated", f"{told}, expected #{self._place}")
        elif behind:
            # It has been counted as lost when it was passed over.
            self._wrong("disordered", f"{told}, which is #{behind[0]}, behind #{self._place - 1}")
            if self._missed.pop(behind[0], None) is None:
                self._verdict.counts["lost"] -= 1
            self._got.add(behind[0])
        elif told[2] in self._history.keys:
            self._wrong("leaked", f"{told}")
        else:
            self._wrong("invented", f"{told}")

    def _wrong(self, what: str, text: str) -> None:
        self._wronged = True
        self._verdict.counts[what] += 1
        if len(self._verdict.wrongs) < 200:
            self._verdict.wrongs.append(f"{what}: {self._where}: {text}")


def kept(transcript: Transcript) -> dict[str, Row]:
    """What a client has that puts each ENTER and STAY in by its key, takes each LEAVE out, and on a TRUNCATE all."""
    rows: dict[str, Row] = {}
    for segment in transcript.segments:
        if not segment.resumed:
            rows.clear()
        for operation, transition, key, rev, body in (heard.told for heard in segment.heard):
            if operation == "TRUNCATE":
                rows.clear()
            elif key is not None and transition == "LEAVE":
                rows.pop(key, None)
            elif key is not None:
                rows[key] = (rev, body)
    return rows


def _lsn(lsn: int) -> str:
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def without(transcript: Transcript, segment: int, heard: list[Heard]) -> Transcript:
    """The same transcript with other events in one segment, for tests of the checker itself."""
    segments = list(transcript.segments)
    segments[segment] = replace(segments[segment], heard=heard)
    return replace(transcript, segments=segments)
