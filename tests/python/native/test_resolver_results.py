"""What resolvers return or raise, and what their subscribers receive."""

import asyncio
import enum
import json
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from typing import TypedDict
from uuid import UUID

import pytest
from pydantic import BaseModel
from serving import manager

from rowcast import (
    Principal,
    PublishError,
)

pytestmark = pytest.mark.timeout(60)


@dataclass
class Order:
    id: int
    total: Decimal
    placed_at: datetime


class Note(TypedDict):
    text: str


class Level(enum.Enum):
    LOW = "l"


class Model(BaseModel):
    id: UUID
    level: Level


def test_resolvers_may_return_whatever_their_annotation_says(run):
    async def work():
        live = manager()
        at = datetime(2026, 11, 23, 16, 1, tzinfo=timezone.utc)
        number = UUID("12345678-1234-5678-1234-567812345678")

        @live.subscription(topic="t", public=True)
        async def an_order(event, variables) -> Order:
            return Order(event.payload, Decimal("1.50"), at)

        @live.subscription(topic="t", public=True)
        async def a_note(event, variables) -> Note:
            return {"text": f"note {event.payload}"}

        @live.subscription(topic="t", public=True)
        def a_model(event, variables) -> Model:
            return Model(id=number, level=Level.LOW)

        @live.subscription(topic="t", public=True)
        async def a_list(event, variables) -> list[Order | None]:
            return [Order(1, Decimal(2), at), None]

        @live.subscription(topic="t", public=True)
        async def anything(event, variables) -> dict:
            return {"payload": event.payload, "bytes": b"\x01"}

        @live.subscription(topic="t", public=True)
        async def nothing(event, variables) -> int | None:
            return None if event.payload == 0 else event.payload

        queries = {
            "anOrder": "{ id total placedAt }",
            "aNote": "{ text }",
            "aModel": "{ id level }",
            "aList": "{ id }",
            "anything": "",
            "nothing": "",
        }
        async with live:
            engine = live.executor
            for field, selection in queries.items():
                engine.register(field, f"subscription {{ {field} {selection} }}", principal=Principal())
            await live.publish("t", 0)
            await live.publish("t", 7)
            told = {}
            for field in queries:
                response = json.loads(await asyncio.to_thread(engine.next_event, field, 5.0))
                assert "errors" not in response
                told[field] = response["data"][field]
        assert told == {
            "anOrder": {"id": 0, "total": "1.50", "placedAt": "2026-11-23T16:01:00+00:00"},
            "aNote": {"text": "note 0"},
            "aModel": {"id": str(number), "level": "LOW"},
            "aList": [{"id": 1}, None],
            "anything": {"payload": 0, "bytes": "\\x01"},
            "nothing": 7,
        }

    run(work)


def test_whatever_a_resolver_does_is_one_answer_and_is_logged(run, caplog):
    async def work():
        live = manager(resolver_timeout_s=0.2)

        @live.subscription(topic="t", public=True)
        async def made(event, variables) -> int:
            what = event.payload
            if what == "raise":
                raise ValueError("secret")
            if what == "own":
                raise PublishError("mine", code="MINE")
            if what == "cancel":
                raise asyncio.CancelledError
            if what == "timeout":
                raise TimeoutError
            if what == "slow":
                await asyncio.sleep(100)
            return 1j if what == "wrong" else 1

        whats = ("raise", "own", "cancel", "timeout", "slow", "wrong", "fine")
        async with live:
            engine = live.executor
            engine.register("1", "subscription { made }", principal=Principal())
            for what in whats:
                await live.publish("t", what)
            told = {}
            for what in whats:
                response = json.loads(await asyncio.to_thread(engine.next_event, "1", 5.0))
                (error,) = response.get("errors", [None])
                told[what] = response["data"]["made"] if error is None else error["extensions"]["code"]
                assert error is None or error["path"] == ["made"]
                assert "secret" not in json.dumps(response)
        assert told == {
            "raise": "RESOLVER_FAILED",
            "own": "MINE",
            "cancel": "RESOLVER_FAILED",
            "timeout": "RESOLVER_FAILED",
            "slow": "RESOLVER_TIMEOUT",
            "wrong": "RESOLVER_RESULT_INVALID",
            "fine": 1,
        }

    run(work)
    assert "secret" in caplog.text
    assert "returned what its annotation does not allow" in caplog.text


def test_events_are_shown_by_a_debug_manager_with_the_resolvers_own_words(run):
    async def work():
        live = manager(debug=True)

        @live.subscription(topic="t", public=True)
        async def made(event, variables) -> int:
            raise ValueError("the words")

        async with live:
            live.executor.register("1", "subscription { made }", principal=Principal())
            await live.publish("t", 1)
            body = await asyncio.to_thread(live.executor.next_event, "1", 5.0)
        assert "the words" in json.loads(body)["errors"][0]["message"]

    run(work)
