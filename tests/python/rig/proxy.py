"""A TCP proxy of our own, between clients and the application, and between the application and PostgreSQL.

It can do to a connection what networks do: cut it (also in the middle of a message), close one direction of it, delay
it, or hold all data until it is released or cut.
"""

import asyncio
import random
import socket
import struct
from contextlib import suppress

CHUNK = 1 << 16

BUFFER = 1 << 14
"""Bytes that the kernel may keep on each side: else it swallows megabytes for a client that does not read."""


class Link:
    """One connection and its other half."""

    def __init__(self, proxy: "Proxy", near: socket.socket, far: socket.socket) -> None:
        self._proxy = proxy
        self._pair = (near, far)
        self._torn = False
        self._pumps = [asyncio.create_task(self._pump(near, far)), asyncio.create_task(self._pump(far, near))]

    async def run(self) -> None:
        """Until both directions have ended."""
        await asyncio.gather(*self._pumps, return_exceptions=True)
        for side in self._pair:
            side.close()

    def cut(self) -> None:
        """A reset to both sides."""
        for side in self._pair:
            with suppress(OSError):
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for pump in self._pumps:
            pump.cancel()

    def tear(self) -> None:
        """A reset in the middle of whatever comes next."""
        self._torn = True

    def half_close(self, chance: random.Random) -> None:
        """One direction ends; the other goes on."""
        direction = chance.randrange(2)
        self._pumps[direction].cancel()
        with suppress(OSError):
            self._pair[1 - direction].shutdown(socket.SHUT_WR)

    async def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            while data := await loop.sock_recv(source, CHUNK):
                await self._proxy.hold()
                if self._torn:
                    await loop.sock_sendall(sink, data[: len(data) // 2])
                    return self.cut()
                await loop.sock_sendall(sink, data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            self.cut()


class Proxy:
    """Listens on a free port of loopback and passes on to ``target``, which may change."""

    def __init__(self, target: tuple[str, int] | None = None, buffer: int = CHUNK) -> None:
        self.target = target
        self._buffer = buffer
        self.links: set[Link] = set()
        self.delay = 0.0
        self._open = asyncio.Event()
        self._open.set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._listener.settimeout(0)
        self.port: int = self._listener.getsockname()[1]
        self._accepting = asyncio.create_task(self._accept())
        self._serving: set[asyncio.Task[None]] = set()

    async def hold(self) -> None:
        """What every piece of data waits for."""
        await self._open.wait()
        if self.delay:
            await asyncio.sleep(self.delay)

    def swallow(self) -> None:
        """Hold all data from now on; neither side gets an error."""
        self._open.clear()

    def heal(self) -> None:
        """Pass everything again, including what was held."""
        self.delay = 0.0
        self._open.set()

    def cut(self) -> None:
        """Reset all connections."""
        for link in list(self.links):
            link.cut()

    async def close(self) -> None:
        """End everything."""
        self._accepting.cancel()
        self._listener.close()
        self.heal()
        self.cut()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            near, _ = await loop.sock_accept(self._listener)
            serving = asyncio.create_task(self._serve(near))
            self._serving.add(serving)
            serving.add_done_callback(self._serving.discard)

    async def _serve(self, near: socket.socket) -> None:
        far = await self._reach()
        if far is None:
            near.close()
            return
        for side in (near, far):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            side.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._buffer)
        link = Link(self, near, far)
        self.links.add(link)
        try:
            await link.run()
        finally:
            self.links.discard(link)

    async def _reach(self) -> socket.socket | None:
        if self.target is None:
            return None
        far = socket.socket()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._buffer)
        far.settimeout(0)
        try:
            await asyncio.get_running_loop().sock_connect(far, self.target)
        except OSError:
            far.close()
            return None
        return far
