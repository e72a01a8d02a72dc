"""Time limits of resolver calls: a timeout is always distinguished from a cancellation."""

import asyncio

import pytest

from rowcast.transport.deadlines import CancelledWithin, Deadlines, TimedOut


def run(scenario):
    asyncio.run(asyncio.wait_for(scenario, 10))


async def within(deadlines, work):
    return await deadlines.within(asyncio.current_task(), work)


def test_work_in_time_gives_its_result_or_error():
    async def scenario():
        deadlines = Deadlines(5)
        assert await within(deadlines, asyncio.sleep(0, "done")) == "done"
        with pytest.raises(ZeroDivisionError):
            await within(deadlines, failing(ZeroDivisionError()))
        with pytest.raises(TimeoutError):
            await within(deadlines, failing(TimeoutError()))
        deadlines.close()

    run(scenario())


def test_work_over_its_limit_is_cancelled_and_the_worker_goes_on():
    ended = []

    async def slow():
        try:
            await asyncio.sleep(10)
        finally:
            ended.append("cancelled")

    async def scenario():
        deadlines = Deadlines(0.02)
        for _ in range(2):
            with pytest.raises(TimedOut):
                await within(deadlines, slow())
        assert await within(deadlines, asyncio.sleep(0, "next")) == "next"
        await asyncio.sleep(0.05)
        deadlines.close()

    run(scenario())
    assert ended == ["cancelled"] * 2


def test_many_workers_have_their_own_limits():
    async def scenario():
        deadlines = Deadlines(0.2)

        async def worker(delay, seconds):
            await asyncio.sleep(delay)
            try:
                return await within(deadlines, asyncio.sleep(seconds, "done"))
            except TimedOut:
                return "late"

        tasks = [asyncio.create_task(worker(0.05 * n, 0.01 if n % 2 else 10)) for n in range(4)]
        assert await asyncio.gather(*tasks) == ["late", "done", "late", "done"]
        deadlines.close()

    run(scenario())


def test_work_that_awaits_something_cancelled_does_not_end_the_worker():
    async def scenario():
        deadlines = Deadlines(5)
        with pytest.raises(CancelledWithin):
            await within(deadlines, failing(asyncio.CancelledError()))
        assert await within(deadlines, asyncio.sleep(0, "next")) == "next"
        deadlines.close()

    run(scenario())


def test_a_cancelled_worker_is_cancelled():
    async def scenario():
        deadlines = Deadlines(5)
        worker = asyncio.create_task(within(deadlines, asyncio.sleep(10)))
        await asyncio.sleep(0)
        worker.cancel()
        with pytest.raises(asyncio.CancelledError):
            await worker
        deadlines.close()

    run(scenario())


def test_work_that_answers_its_cancellation_with_another_error_is_late_all_the_same():
    async def stubborn():
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            raise ValueError("closing badly") from None

    async def scenario():
        deadlines = Deadlines(0.02)
        with pytest.raises(TimedOut):
            await within(deadlines, stubborn())
        await asyncio.sleep(0)
        deadlines.close()

    run(scenario())


async def failing(error):
    await asyncio.sleep(0)
    raise error
