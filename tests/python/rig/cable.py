"""A cable between a client and a server. Once it is cut, nothing passes and neither side gets an error."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Cable:
    """A TCP proxy. Once cut, it keeps its connections and moves no byte, as a lost network does."""

    def __init__(self, server: str) -> None:
        host, port = server.removeprefix("ws://").split(":")
        self._server = host, int(port)
        self._listener: asyncio.Server | None = None
        self._moving: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def lay(self) -> str:
        """Start; the address for the client."""
        self._listener = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        return f"ws://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """Pass nothing from now on."""
        for task in self._moving:
            task.cancel()

    def clear_away(self) -> None:
        """Close everything."""
        self.cut()
        for writer in self._writers:
            writer.transport.abort()
        if self._listener is not None:
            self._listener.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._server)
        self._writers += [writer, far_writer]
        self._moving += [
            asyncio.create_task(move(reader, far_writer)),
            asyncio.create_task(move(far_reader, writer)),
        ]


async def move(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction, until its end."""
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def cable(server: str) -> AsyncIterator[tuple[Cable, str]]:
    """A cable to this server, and the address at its other end."""
    laid = Cable(server)
    try:
        yield laid, await laid.lay()
    finally:
        laid.clear_away()
