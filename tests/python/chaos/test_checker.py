"""The checker notices what it is there for."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from chaos.checker import WRONGS, Check, Heard, Segment, Transcript, Verdict, check, without
from chaos.history import ALTERED, WHOLE, Change, History, Image, View

RED = View("red", "notes")


def image(key: int, rev: int, owner: str = "red", state: str = "open") -> Image:
    return {"id": key, "rev": rev, "owner": owner, "state": state, "body": f"body-{rev}"}


def moved(row: Image, key: int, rev: int) -> Image:
    return row | {"id": key, "rev": rev}


def fresh(because: str, **rest: Any) -> Segment:
    return Segment(resumed=False, because=because, **rest)


def story(length: int = 60) -> History:
    """Random rows that are made, changed, moved and deleted."""
    chance, rows, changes = random.Random(1), dict[int, Image](), []
    for step in range(length):
        owner, state = chance.choice(("red", "blue")), chance.choice(("open", "secret"))
        key = chance.choice(list(rows)) if rows and chance.random() < 0.6 else step + 1000
        old, new = rows.get(key), image(key, step, owner, state) if chance.random() < 0.8 or key not in rows else None
        operation = "DELETE" if new is None else "INSERT" if old is None else "UPDATE"
        changes.append(Change(100 + step // 2 * 10, "notes", operation, old, new))
        rows.pop(key, None)
        if new is not None:
            rows[key] = new
    return History(changes)


def perfect(history: History, view: View, cut: int = 12) -> Transcript:
    """What a subscriber should have heard, with one reconnect that resumes."""
    told = [owed.outcomes[min(owed.outcomes)] for owed in history.account(view).owed]
    heard = [Heard(each, f"cursor-{number}", 0) for number, each in enumerate(told) if each is not None]
    first = fresh("began", since=0, heard=heard[:cut], end="cut")
    return Transcript("red notes", view, [first, Segment(resumed=True, because="cut", heard=heard[cut:])])


def test_what_is_right_is_not_complained_about() -> None:
    history = story()
    verdict = check(history, [perfect(history, RED)])
    assert verdict.clean, verdict.wrongs
    assert verdict.counts["checked"] == len(history.account(RED).owed) > 20


def test_what_was_owed_before_an_open_end_may_still_come_afterwards() -> None:
    """Seed 1018: where a silent segment began was found out late; the next one had what committed before."""
    history = story()
    transcript = perfect(history, RED)
    silent = fresh("error GAP", since=history.account(RED).owed[20].lsn, end="error GAP")
    late = fresh("error GAP", heard=transcript.segments[1].heard[2:])
    transcript.segments = [transcript.segments[0], silent, late]
    assert check(history, [transcript]).clean
    assert check(history, [without(transcript, 2, late.heard[:3] + late.heard[4:])]).counts["lost"] == 1


def test_a_client_that_keeps_a_table_has_no_row_under_a_key_that_it_lost() -> None:
    row = image(1, 1)
    changes = [
        Change(10, "notes", "INSERT", None, row),
        Change(20, "notes", "UPDATE", row, moved(row, 2, 2)),
        Change(30, "notes", "INSERT", None, image(1, 3)),
    ]
    history = History(changes)
    told = [next(iter(owed.outcomes.values())) for owed in history.account(RED).owed]
    assert [each[1:3] for each in told if each] == [("ENTER", "1"), ("LEAVE", "1"), ("ENTER", "2"), ("ENTER", "1")]
    verdict = check(history, [perfect(history, RED, 2)])
    assert (verdict.clean, verdict.counts["rows compared"]) == (True, 2)
    # Were a DELETE not owed, the client that gets all that is owed would keep a row that is gone.
    gone = History([*changes, Change(40, "notes", "DELETE", changes[2].new, None)])
    verdict = Verdict()
    Check(gone, history.account(RED), perfect(history, RED, 2), verdict).run()
    assert verdict.counts["stale"] == 1, verdict.wrongs


Mutation = Callable[[list[Heard]], list[Heard]]


MUTATIONS: dict[str, tuple[str, Mutation]] = {
    "the first is missing": ("lost", lambda heard: heard[1:]),
    "one is missing": ("lost", lambda heard: heard[:4] + heard[5:]),
    "the last is missing": ("lost", lambda heard: heard[:-1]),
    "all are missing": ("lost", lambda heard: []),
    "one comes twice in a row": ("repeated", lambda heard: heard[:5] + heard[4:]),
    "one comes again later": ("repeated", lambda heard: [*heard, heard[2]]),
    "two change places": ("disordered", lambda heard: [heard[1], heard[0], *heard[2:]]),
    "one comes late": ("disordered", lambda heard: heard[:3] + heard[4:] + heard[3:4]),
    "a row that is not there": ("invented", lambda heard: [*heard, Heard(("INSERT", "ENTER", "7", "7", "x"), "", 0)]),
}


@pytest.mark.parametrize("segment", [0, 1])
@pytest.mark.parametrize("name", MUTATIONS)
def test_what_is_wrong_is_named(name: str, segment: int) -> None:
    history = story()
    transcript = perfect(history, RED)
    expected, mutation = MUTATIONS[name]
    changed = without(transcript, segment, mutation(transcript.segments[segment].heard))
    counts = check(history, [changed]).counts
    assert [wrong for wrong in WRONGS if counts[wrong]] == [expected], counts


def test_another_owners_row_is_a_leak() -> None:
    history = story()
    transcript = perfect(history, RED)
    foreign = perfect(history, View("blue", "notes")).segments[0].heard[3]
    counts = check(history, [without(transcript, 0, [*transcript.segments[0].heard, foreign])]).counts
    assert counts["leaked"] == 1


def test_a_fresh_segment_gives_up_what_lies_before_it_and_nothing_else() -> None:
    history = story()
    transcript = perfect(history, RED)
    owed = history.account(RED).owed
    behind = transcript.segments[1].heard
    again = fresh("no resume", since=owed[15].lsn, heard=behind[3:])
    verdict = check(history, [Transcript("red", RED, [transcript.segments[0], again])])
    assert verdict.clean, verdict.wrongs
    assert verdict.counts["given up"] == 3
    late = fresh("no resume", since=owed[12].lsn, heard=behind[6:])
    assert check(history, [Transcript("red", RED, [transcript.segments[0], late])]).counts["lost"] > 0


def test_what_was_committed_before_a_change_of_the_policy_may_meet_either_rule_once_it_was_begun() -> None:
    row = image(1, 1, state="secret")
    insert, policy = Change(10, "notes", "INSERT", None, row), Change(20, "", "POLICY")
    history = History([insert, policy, Change(30, "notes", "INSERT", None, image(2, 2))])
    told = RED.told(insert, 0)
    after = RED.told(history.changes[2], 1)
    assert told is not None
    assert after is not None
    for heard, wrong in [
        ([Heard(told, "", 0), Heard(after, "", 1)], []),
        ([Heard(told, "", 1), Heard(after, "", 1)], []),
        ([Heard(after, "", 1)], []),
        ([Heard(after, "", 0)], ["lost"]),
    ]:
        counts = check(history, [Transcript("red", RED, [fresh("", since=0, heard=heard)])]).counts
        assert [name for name in WRONGS if counts[name]] == wrong


def test_what_was_committed_after_a_change_of_the_policy_meets_the_new_rule() -> None:
    hidden = Change(20, "notes", "INSERT", None, image(1, 1, state="secret"))
    history = History([Change(10, "", "POLICY"), hidden])
    told = RED.told(hidden, 0)
    assert told is not None
    counts = check(history, [Transcript("red", RED, [fresh("", heard=[Heard(told, "", 1)])])]).counts
    assert counts["leaked"] == 1


def begun(because: str, *places: int) -> tuple[str, tuple[int, ...]]:
    return because, places


ALTERATIONS: dict[str, tuple[list[tuple[str, tuple[int, ...]]], list[str]]] = {
    "nothing is missing": ([begun("began", 0, 1, 2, 3)], []),
    "missed before a GAP": ([begun("began", 0, 2), begun("error GAP", 3)], []),
    "missed before a cursor has expired": ([begun("began", 0, 2), begun("error CURSOR_EXPIRED", 3)], []),
    "missed and never told": ([begun("began", 0, 2, 3)], ["lost"]),
    "missed and told too late": ([begun("began", 0, 2, 3), begun("error GAP")], ["lost"]),
    "missed, and the connection cut": ([begun("began", 0, 2), begun("cut", 3)], ["lost"]),
    "the last of it missed and never told": ([begun("began", 0, 1, 3)], ["lost"]),
    "missed from before the alteration": ([begun("began", 1, 2), begun("error GAP", 3)], ["lost"]),
    "missed from behind it": ([begun("began", 0, 1, 2)], ["lost"]),
    "delivered late": ([begun("began", 0, 2, 1), begun("error GAP", 3)], ["disordered"]),
    "delivered twice": ([begun("began", 0, 1, 1), begun("error GAP", 3)], ["repeated"]),
}


@pytest.mark.parametrize("name", ALTERATIONS)
def test_what_an_administrator_kept_from_being_captured_has_to_be_told_by_an_error(name: str) -> None:
    inserts = [Change(10 * number, "notes", "INSERT", None, image(number, number)) for number in range(1, 5)]
    marks = [Change(15, "notes", ALTERED), Change(35, "notes", WHOLE)]
    others = [Change(5, "tasks", ALTERED)]
    history = History(sorted([*inserts, *marks, *others], key=lambda change: change.lsn))
    told = [next(iter(owed.outcomes.values())) for owed in history.account(RED).owed]
    heard = [Heard(each, "", 0) for each in told if each is not None]
    segments, wrong = ALTERATIONS[name]
    transcript = [fresh(because, heard=[heard[place] for place in places]) for because, places in segments]
    transcript[0].since = 0
    verdict = check(history, [Transcript("red", RED, transcript)])
    assert [each for each in WRONGS if verdict.counts[each]] == wrong, verdict.wrongs
    assert verdict.counts["missed"] == (1 if name.startswith("missed before a ") else 0)
