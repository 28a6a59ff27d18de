"""Silent clients are let go; those who wait for an answer, or go on sending, are not."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import uvicorn

from ketline.api.patience import PatientProtocol, end_silence

SECONDS = 0.5
WHOLE_SECONDS = 2.0
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"


async def slow(scope, receive, send) -> None:
    """Reads a whole body, takes longer than a client may be silent, and answers."""
    while (await receive()).get("more_body"):
        pass
    await asyncio.sleep(3 * SECONDS)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            slow, http=PatientProtocol, ws="none", lifespan="off", log_config=None, timeout_keep_alive=60
        )
        server = uvicorn.Server(config)
        tasks = [
            asyncio.create_task(server.serve(sockets=[listener])),
            asyncio.create_task(end_silence(server.server_state.connections, SECONDS, WHOLE_SECONDS)),
        ]
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await tasks[0]
            tasks[1].cancel()


async def said(port: int, *pieces: bytes, pause: float = 0.0) -> bytes:
    """What the server says to a client that sends these pieces with pauses, until it is let go."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    heard = asyncio.create_task(reader.read())
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(pause)
        return await asyncio.wait_for(heard, 20 * SECONDS)
    except ConnectionError:
        return b""
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def test_who_says_nothing_or_hardly_anything_is_let_go_and_who_waits_is_not() -> None:
    async def scenario() -> None:
        async with serving() as port:
            drops = [bytes([byte]) for byte in b"0123456789"]
            nothing, head, body, waiting, slowly, dripped, dripping_head = await asyncio.gather(
                said(port),
                said(port, b"GET / HTTP/1.1\r\nHo"),
                said(port, HEAD, b"01234"),
                said(port, HEAD, b"0123456789"),
                said(port, HEAD, *drops, pause=SECONDS / 5),
                said(port, HEAD, *drops, pause=WHOLE_SECONDS / 6),
                said(port, *(HEAD[i : i + 4] for i in range(0, len(HEAD), 4)), pause=WHOLE_SECONDS / 6),
            )
        assert (nothing, head, body, dripped, dripping_head) == (b"",) * 5
        assert waiting.endswith(b"\r\n\r\nok")
        assert slowly.endswith(b"\r\n\r\nok")

    asyncio.run(scenario())


def test_a_connection_may_last_as_long_as_its_requests_are_short() -> None:
    async def scenario() -> None:
        async with serving() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            began = asyncio.get_running_loop().time()
            while asyncio.get_running_loop().time() < began + 1.5 * WHOLE_SECONDS:
                writer.write(HEAD + b"0123456789")
                answer = await reader.readuntil(b"ok")
                assert answer.startswith(b"HTTP/1.1 200")
            writer.close()

    asyncio.run(scenario())
