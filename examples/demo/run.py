"""``make demo``: a database, the application, a writer, and the lines that give their addresses.

The embedded server's owner makes the tables. The engine connects as a role with the rights that it needs, see
``prepare.py``. Prints ``postgres URL`` (the owner's) and ``ready http://127.0.0.1:PORT`` when subscriptions work.
SIGINT and SIGTERM end everything, with exit code 0: sockets first, then PostgreSQL. Environment: ``PORT`` (8000; 0
chooses a free one), ``DEMO_WRITER=off``, ``ROWCAST_DATABASE_URL`` (a database of yours instead of an embedded one),
``DEMO_FOLDER`` (where the embedded one is kept, ``.demo``).
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import prepare
import psycopg
import uvicorn
import writer

from rowcast.embedded import EmbeddedPostgres
from rowcast.errors import ConfigurationError, MigrationError, RowcastError

ROOT = Path(__file__).resolve().parents[2]
ENDING = (signal.SIGINT, signal.SIGTERM)
PORT_MAX = 65_535


def main() -> int:
    """Run until a signal comes; the exit code."""
    ended = _Signals()
    try:
        with listening(port_of_environment()) as listener, database() as (url, engine_url):
            if not ended.seen:
                os.environ["ROWCAST_DATABASE_URL"] = engine_url
                asyncio.run(serve(listener, url))
    except (RowcastError, psycopg.Error, OSError) as error:
        if not ended.seen:  # a Ctrl-C reaches PostgreSQL's programs as well, and then they fail
            print(f"demo: {error}", file=sys.stderr)
            return 1
    return 0 if ended.seen else 1


class _Signals:
    """Remembers that the demo must end. It interrupts nothing, because a half-started PostgreSQL would keep running."""

    def __init__(self) -> None:
        self.seen = False
        for number in ENDING:
            signal.signal(number, self._see)

    def _see(self, _number: int, _frame: object) -> None:
        self.seen = True


def port_of_environment() -> int:
    """``PORT``, or 8000. Raises ``ConfigurationError`` when it is not a port."""
    text = os.environ.get("PORT") or "8000"
    if not text.isdecimal() or int(text) > PORT_MAX:
        raise ConfigurationError(f"PORT is {text!r}; it must be a number from 0 (chooses a free port) to {PORT_MAX}")
    return int(text)


@contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """The socket that the server accepts on. It is opened first, so that a port in use is reported before the start."""
    try:
        listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    except OSError as error:
        raise OSError(f"port {port} is not free ({error}); PORT=0 chooses one that is") from error
    with listener:
        yield listener


@contextmanager
def database() -> Iterator[tuple[str, str]]:
    """The owner's and the engine's URL of an embedded database, which stops at the end.

    With ``ROWCAST_DATABASE_URL`` both are that URL, because its owner decides which roles exist.
    """
    given = os.environ.get("ROWCAST_DATABASE_URL")
    if given:
        prepare.make_table(given)
        yield given, given
        return
    folder = Path(os.environ.get("DEMO_FOLDER") or ROOT / ".demo").absolute()
    server = EmbeddedPostgres.start(folder)
    try:
        prepare.make_table(server.url)
        yield server.url, engine_url(server.url, folder)
    finally:
        server.stop()


def engine_url(url: str, folder: Path) -> str:
    """`prepare.make_engine`. Data that a development version of rowcast left cannot be used."""
    try:
        return prepare.make_engine(url)
    except MigrationError as error:
        if error.code != "SCHEMA_DIVERGENT":
            raise
        raise MigrationError(f"a development version of rowcast made the data in {folder}: remove it") from error


async def serve(listener: socket.socket, url: str) -> None:
    """Serve the application, and write beside it, until a signal comes."""
    from app import TENANTS, app  # noqa: PLC0415 - its manager reads the environment that `main` has set

    config = uvicorn.Config(
        app,
        ws="websockets-sansio",
        ws_max_size=256 * 1024,  # as rowcast's message_bytes_max: a longer one is not assembled
        ws_per_message_deflate=False,  # costs more processor time than such small rows save
        log_level="warning",
        timeout_graceful_shutdown=3,
    )
    server = _Announced(config, url)
    writing = None
    if os.environ.get("DEMO_WRITER") != "off":
        await writer.write_before_serving(url, list(TENANTS.values()))
        writing = asyncio.create_task(writer.keep_writing(url, list(TENANTS.values())))
    try:
        await server.serve(sockets=[listener])
    finally:
        if writing is not None:
            writing.cancel()
            with suppress(asyncio.CancelledError):
                await writing


class _Announced(uvicorn.Server):
    """uvicorn, which prints its address once the application has started and accepts sockets."""

    def __init__(self, config: uvicorn.Config, url: str) -> None:
        super().__init__(config)
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            port = sockets[0].getsockname()[1]
            print(f"postgres {self._url}\nready http://127.0.0.1:{port}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
