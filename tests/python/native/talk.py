"""Words for these tests: fields as `SubscriptionExecutor.start` takes them, and a client without a socket."""

import json
import select
import subprocess
import sys
import textwrap
import time
from typing import Any

from rowcast import Principal, SubscriptionExecutor
from rowcast._engine import Call, Hub


def topic(name: str, *, public: bool = True, resolver: dict[str, Any] | None = None) -> dict[str, Any]:
    """A field on a topic, of the same name."""
    return {"name": name, "topic": name, "public": public, "resolver": resolver}


def resolver(index: int = 0, returns: dict[str, Any] | None = None) -> dict[str, Any]:
    """A field's resolver; without ``returns`` its result is the payload's type, JSON."""
    return {"index": index, "leave": False, "returns": returns}


def returning(kind: str, objects: dict[str, dict[str, str]] | None = None, **enums: list[str]) -> dict[str, Any]:
    """A resolver that returns ``kind``; ``objects`` are ``{"Name": {"field": "type"}}``."""
    return resolver(
        returns={
            "type": kind,
            "objects": [
                {"name": name, "description": None, "fields": [_member(*each) for each in members.items()]}
                for name, members in (objects or {}).items()
            ],
            "enums": [{"name": name, "values": values} for name, values in enums.items()],
        }
    )


def _member(name: str, kind: str) -> dict[str, Any]:
    return {"name": name, "attribute": name, "type": kind, "description": None}


class Client:
    """A session with the frames that a socket would have carried."""

    def __init__(self, engine: SubscriptionExecutor, hub: Any = None) -> None:
        self.hub: Hub = hub or Hub()
        self.session = engine.connect(self.hub)

    def send(self, **message: Any) -> str | None:
        """A message of the client's."""
        return self.session.receive_text(json.dumps(message))

    def enter(self, principal: Principal | None = None) -> "Client":
        """The handshake; its frame is taken."""
        self.send(type="connection_init")
        self.session.accept(principal or Principal())
        assert self.frames() == [{"type": "connection_ack"}]
        return self

    def subscribe(self, operation: str, query: str, **payload: Any) -> None:
        """Start an operation."""
        self.send(type="subscribe", id=operation, payload={"query": query} | payload)

    def frames(self) -> list[dict[str, Any]]:
        """All frames that wait now."""
        found = []
        while batch := self.session.take():
            found += [json.loads(frame) for frame in batch]
        return found

    def rung(self, patience: float = 5.0) -> list[int]:
        """The hub's tokens, waited for."""
        readable, _, _ = select.select([self.hub.fileno()], [], [], patience)
        return self.hub.drain() if readable else []

    def closing(self, patience: float = 5.0) -> tuple[int, str, bool]:
        """How the session wants to be closed, waited for."""
        return wait_for(self.session.closing, "the session to close", patience)


def wait_for(look: Any, what: str, patience: float = 5.0) -> Any:
    """The first truthy value that ``look`` gives."""
    deadline = time.monotonic() + patience
    while not (value := look()):
        assert time.monotonic() < deadline, f"waited {patience} s in vain for {what}"
        time.sleep(0.005)
    return value


def pull(engine: SubscriptionExecutor, subscription_id: str, timeout: float = 5.0) -> dict[str, Any] | None:
    """The next result of a registered subscription."""
    body = engine.next_event(subscription_id, timeout)
    return None if body is None else json.loads(body)


def calls(engine: SubscriptionExecutor, limit: int = 1000) -> list[Call]:
    """The resolver calls that wait."""
    return engine.take_calls(limit)


def python(script: str, patience: float = 30.0) -> str:
    """Output of a new Python process, which must exit by itself, with 0 and an empty stderr."""
    process = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=patience,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stderr == ""
    return process.stdout
