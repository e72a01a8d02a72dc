"""Threads, the interpreter lock, forks and the end of the interpreter: nothing hangs or leaks.

Each test runs in its own Python process, since a failure stops the whole process.
"""

import pytest
from talk import python

pytestmark = pytest.mark.timeout(120)

SETUP = """
import gc, json, os, signal, sys, threading, time
from rowcast import EventBusConfig, Principal, SubscriptionEnded, SubscriptionExecutor
from rowcast._engine import Hub
RESOLVER = {"index": 0, "leave": False, "returns": None}
FIELDS = json.dumps([
    {"name": "alerts", "topic": "alerts", "public": True},
    {"name": "made", "topic": "made", "public": True, "resolver": RESOLVER},
])
def engine(**settings):
    made = SubscriptionExecutor(EventBusConfig.memory(), settings=json.dumps(settings))
    made.start(FIELDS)
    return made
def connected(made, hub=None):
    session = made.connect(hub or Hub())
    session.receive_text('{"type":"connection_init"}')
    session.accept(Principal())
    for id, query in (("1", "subscription { alerts { payload } }"), ("2", "subscription { made }")):
        session.receive_text(json.dumps({"id": id, "type": "subscribe", "payload": {"query": query}}))
    return session
def descriptors(): return len(os.listdir("/proc/self/fd"))
def threads(): return len(os.listdir("/proc/self/task"))
"""


def run(script: str, patience: float = 30.0) -> str:
    return python(SETUP + script, patience)


def test_the_interpreter_ends_with_a_running_engine_in_a_global():
    run("made = engine(); session = connected(made); made.publish('alerts', '1'); made.publish('made', '1')")


def test_the_interpreter_ends_with_a_thread_that_waits_for_an_event():
    run(
        """
made = engine()
made.register("1", "subscription { alerts { payload } }", principal=Principal())
threading.Thread(target=lambda: made.next_event("1", None), daemon=True).start()
time.sleep(0.2)
"""
    )


def test_the_interpreter_ends_when_engine_and_session_are_in_a_cycle():
    run(
        """
class Holder: pass
holder = Holder(); holder.self = holder; holder.engine = engine(); holder.session = connected(holder.engine)
holder.call = None
holder.engine.publish("made", "1"); holder.call = holder.engine.take_calls(1)[0]; holder.event = holder.call.event
"""
    )


def test_the_interpreter_ends_with_a_call_that_nobody_finished():
    run(
        """
made = engine(); session = connected(made)
for number in range(100): made.publish("made", str(number))
calls = made.take_calls(50)
sys.exit(0)
"""
    )


def test_an_engine_that_is_dropped_gives_its_threads_and_descriptors_back():
    run(
        """
engine(); gc.collect(); time.sleep(0.2)
before = threads(), descriptors()
for _ in range(10):
    made = engine(); session = connected(made)
    made.register("1", "subscription { alerts { payload } }", principal=Principal())
    made.publish("alerts", "1"); made.publish("made", "1")
    del made, session
gc.collect()
deadline = time.monotonic() + 5
while (threads(), descriptors()) > before and time.monotonic() < deadline: time.sleep(0.02)
assert (threads(), descriptors()) <= before, (before, threads(), descriptors())
"""
    )


def test_a_session_that_is_dropped_is_disconnected():
    run(
        """
made = engine(); session = connected(made)
assert made.metrics()["sessions"] == 1 and made.metrics()["subscriptions"] == 2
del session
metrics = made.metrics()
assert (metrics["sessions"], metrics["subscriptions"]) == (0, 0), metrics
"""
    )


def test_a_dropped_engine_closes_its_sessions():
    run(
        """
made = engine(); session = connected(made); session.take()
del made; gc.collect()
assert session.closing() is not None and session.closing()[0] == 1001, session.closing()
"""
    )


def test_sessions_and_events_outlive_their_engine():
    run(
        """
made = engine(); session = connected(made); made.publish("made", "[1]"); made.publish("made", "2")
first, second = made.take_calls(2); event = first.event
made.stop(); del made; gc.collect()
assert event.payload == [1] and first.variables == {}
first.finish(1); second.fail("x", "Y"); session.take(); session.receive_text('{"type":"ping"}'); session.disconnect()
"""
    )


def test_memory_does_not_grow_with_engines_sessions_and_calls():
    run(
        """
def kib(): return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])
payload = json.dumps("x" * 200_000)
def turn():
    made = engine(queue_bytes_max=1 << 26); session = connected(made)
    for _ in range(20): made.publish("alerts", payload); made.publish("made", payload)
    made.take_calls(10)
for _ in range(3): turn()
gc.collect(); before = kib()
for _ in range(20): turn()
gc.collect(); time.sleep(0.3); grown = kib() - before
assert grown < 40_000, f"{grown} KiB"
"""
    )


def test_registering_fetching_and_completing_one_id_from_many_threads_does_not_deadlock():
    out = run(
        """
sys.setswitchinterval(1e-5)
made = engine(); ends = time.monotonic() + 2
def turn(work):
    while time.monotonic() < ends:
        try: work()
        except Exception: pass
query = "subscription { alerts { payload } }"
works = [
    lambda: made.register("1", query, principal=Principal()),
    lambda: made.register("1", "subscription { nope }", principal=Principal()),
    lambda: made.next_event("1"),
    lambda: made.complete("1"),
    lambda: made.publish("alerts", "1"),
]
started = [threading.Thread(target=turn, args=(work,)) for work in works * 2]
for thread in started: thread.start()
for thread in started: thread.join()
made.complete("1")
assert made.metrics()["subscriptions"] == 0, made.metrics()
print("done")
"""
    )
    assert out == "done\n"


def test_ctrl_c_interrupts_a_thread_that_waits_for_an_event():
    out = run(
        """
made = engine()
made.register("1", "subscription { alerts { payload } }", principal=Principal())
threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try: made.next_event("1", None)
except KeyboardInterrupt: print("interrupted")
""",
        patience=15,
    )
    assert out == "interrupted\n"


@pytest.mark.parametrize("leave", ["sys.exit(0)", "os._exit(0)"])
def test_a_forked_child_ends_and_leaves_its_parents_engine_alone(leave):
    out = run(
        f"""
import warnings; warnings.simplefilter("ignore")
hub = Hub(); made = engine(); session = connected(made, hub); made.publish("made", "1"); call = made.take_calls(1)[0]
child = os.fork()
if child == 0:
    {leave}
deadline = time.monotonic() + 10
while os.waitpid(child, os.WNOHANG) == (0, 0):
    if time.monotonic() > deadline:
        os.kill(child, signal.SIGKILL); os.waitpid(child, 0); sys.exit("the child hangs")
    time.sleep(0.01)
call.finish(1); made.publish("alerts", "1")
assert hub.drain() and len(session.take()) == 3 and made.metrics()["sessions"] == 1
print("alive")
"""
    )
    assert out == "alive\n"


def test_a_forked_child_is_told_that_the_engine_is_not_its_own():
    out = run(
        """
import warnings; warnings.simplefilter("ignore")
from rowcast import ConfigurationError
made = engine()
child = os.fork()
if child == 0:
    signal.alarm(10)
    codes = []
    connect, publish = lambda: made.connect(Hub()), lambda: made.publish("alerts", "1")
    for use in (made.stop, publish, connect, made.start):
        try: use()
        except ConfigurationError as error: codes.append(error.code)
    os._exit(0 if codes == ["FORKED"] * 4 else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    )
    assert out == "0\n"


def test_stop_lets_other_threads_run_and_may_be_called_from_several():
    run(
        """
made = engine(); session = connected(made)
stops = [threading.Thread(target=made.stop) for _ in range(4)]
for each in stops: each.start()
for each in stops: each.join(10)
assert not any(each.is_alive() for each in stops)
"""
    )


def test_an_engine_is_dropped_inside_a_running_event_loop():
    run(
        """
import asyncio
async def main():
    made = engine(); session = connected(made)
    await asyncio.to_thread(made.publish, "alerts", "1")
    del made
    for _ in range(500):  # the thread that published may be the last to let go
        await asyncio.sleep(0.01)
        if session.closing(): return
    raise AssertionError("the session of a dropped engine is still open")
asyncio.run(main())
"""
    )


def test_a_manager_that_was_never_stopped_lets_the_interpreter_end():
    run(
        """
import asyncio
from rowcast import SubscriptionManager
manager = SubscriptionManager(bus=EventBusConfig.memory())
@manager.subscription(topic="made", public=True)
async def made(event, variables): await asyncio.sleep(100)
async def main():
    await manager.start()
    session = connected_to(manager.executor)
    await manager.publish("made", 1)
    await asyncio.sleep(0.1)
    return session
def connected_to(executor):
    session = executor.connect(Hub())
    session.receive_text('{"type":"connection_init"}'); session.accept(Principal())
    session.receive_text(json.dumps({"id": "2", "type": "subscribe", "payload": {"query": "subscription { made }"}}))
    return session
session = asyncio.run(main())
"""
    )
