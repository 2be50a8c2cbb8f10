"""A client that leaves, on real sockets: what a kernel does when a program ends, closes, or resets."""

import asyncio
import contextlib
import os
import socket
import ssl
import time

import pytest
from harness import get

from minproto import AccessLog, Response, Server, Timeouts, connect_http2, tls_context
from minproto.aio.pipe import RESET_ON_CLOSE

LOOPS = [None]
with contextlib.suppress(ImportError):
    import uvloop

    LOOPS.append(uvloop.new_event_loop)


def run(main, loop):
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(asyncio.wait_for(main, 20))


class Story:
    """An app that works for long, and what became of it."""

    def __init__(self):
        self.told = self.cancelled = None
        self.log = []
        self.over = asyncio.Event()

    async def __call__(self, request):
        self._telling = asyncio.create_task(self._tell(request))  # ends with the exchange
        try:
            if request.path == "/stream":
                return Response(self._pieces(), early_head=True)
            if request.path == "/read":
                await request.read()
            elif request.path == "/told":
                await request.disconnected()
                await asyncio.sleep(0.05)
            await asyncio.sleep(3 if request.path == "/short" else 60)
            return Response(b"done")
        except asyncio.CancelledError:
            self.cancelled = time.monotonic()
            raise

    async def _pieces(self):
        try:
            yield b"first"
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled = time.monotonic()
            raise

    async def _tell(self, request):
        await request.disconnected()
        self.told = time.monotonic()

    def write(self, line):
        self.log.append(int(line.split()[-2]))
        self.over.set()

    def server(self, **options):
        return Server(self, port=0, observers=[AccessLog(self.write)], timeouts=Timeouts(linger=0.5, drain=0.5), **options)


def reset(writer):
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    writer.transport.abort()


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("how", ["reset", "end and reset", "upload and reset", "stream and reset"])
def test_a_reset_cancels_within_two_seconds(how, loop):
    async def main():
        story = Story()
        async with story.server() as server:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            if how == "upload and reset":
                writer.write(get("/", "Content-Length: 1000000", method="POST") + bytes(500_000))
            else:
                writer.write(get("/stream" if how.startswith("stream") else "/"))
            await asyncio.sleep(0.3)
            if how == "end and reset":
                writer.write_eof()
                await asyncio.sleep(0.3)
            began = time.monotonic()
            reset(writer)
            await story.over.wait()
            assert story.cancelled is not None and story.cancelled - began < 2
            assert story.told is not None and story.told - began < 2
            assert story.log == [499]

    run(main(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_close_is_told_at_once_and_its_answer_is_a_499(loop):
    """What curl does on Ctrl-C: it looks like an end, until our answer brings a reset."""

    async def main():
        story = Story()
        async with story.server() as server:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(get("/short"))
            await asyncio.sleep(0.3)
            began = time.monotonic()
            writer.close()
            await asyncio.sleep(0.3)
            assert story.told is not None and story.told - began < 0.3 and story.cancelled is None
            await story.over.wait()
            assert story.log == [499]

    run(main(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_half_close_gets_its_answer(loop):
    async def main():
        story = Story()
        async with story.server() as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(get("/short"))
            writer.write_eof()
            assert (await reader.read()).endswith(b"done")
            await story.over.wait()
            assert story.log == [200] and story.cancelled is None
            writer.close()

    run(main(), loop)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("path", ["/", "/read", "/told"])
@pytest.mark.parametrize("how", ["close", "cut", "reset"])
def test_over_tls_each_end_is_a_loss(how, path, loop, certificate):
    """TLS has no half-close in asyncio: nobody can get the answer any more, wherever the handler waits."""

    async def main():
        story = Story()
        async with story.server(ssl=tls_context(certificate.chain, certificate.key)) as server:
            context = ssl.create_default_context(cafile=certificate.authority)
            context.check_hostname = False
            _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
            writer.write(get(path, "Content-Length: 5", method="POST"))
            await asyncio.sleep(0.3)
            began = time.monotonic()
            if how == "close":
                writer.close()
            elif how == "cut":
                with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as sock:
                    sock.shutdown(socket.SHUT_WR)
            else:
                reset(writer)
            await story.over.wait()
            assert story.cancelled is not None and story.cancelled - began < 2 and story.log == [499]

    run(main(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_in_http_2_a_closed_connection_cancels(loop):
    """Our PING finds out that its end was more than that."""

    async def main():
        story = Story()
        async with story.server() as server:
            client = await connect_http2("127.0.0.1", server.port)
            asking = asyncio.create_task(client.request("GET", "/"))
            await asyncio.sleep(0.3)
            began = time.monotonic()
            client.endpoint.pipe._transport.close()
            await story.over.wait()
            assert story.cancelled is not None and story.cancelled - began < 2 and story.log == [499]
            await asyncio.wait([asking])
            asking.exception()
            await client.close()

    run(main(), loop)
