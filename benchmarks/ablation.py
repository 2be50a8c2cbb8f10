"""What each short cut buys: `python -m benchmarks.ablation [JOB ...]`, from the repository root; a few minutes for all jobs.

The plain cores are complete by themselves, and the fast ones replace single methods. So a short cut can be taken out alone:
its override is deleted from the fast class (``delattr``), and the plain method below it takes its place. The tricks of the
shells are exchanged for their plain twins: PlainDeadline, PlainWriteBatch, StreamPipe.

Each job does the same work over and over, in memory, on the server's side. A child process does this work with one short cut
taken out. Two figures are printed, each as the increase over a run with all short cuts:

    instructions   counted by valgrind, without those of Python's own start. They hardly vary from run to run.
    time           CPU time, the least of several runs. On a busy machine it varies by some percent.

A short cut whose output differs when it is taken out alone is part of another one, and is marked so. The last line of a job
has all short cuts taken out. Without valgrind, only the time is measured.
"""

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from shutil import which
from typing import Any

Work = Callable[[int], bytes]
"""Does the work as many times as its argument says, and returns the output of the work."""

RUNS = 5
"""How many runs one child makes. Only the fastest run counts."""
ROUNDS = 3
"""How many children measure the time of each variant. The variants take turns."""


# ---- the jobs ----------------------------------------------------------------------------------------------------------


def http1(count: int) -> bytes:
    """A GET with six fields. Every fourth request is a POST of 100 bytes, answered in chunks."""
    from minproto.core import SERVER
    from minproto.fast.http1 import Connection
    from minproto.http import Data, EndOfMessage, Headers, RequestHead, ResponseHead
    from minproto.http1 import PreparedHead

    fields = b"Host: a:8000\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\nAccept-Encoding: gzip\r\nAccept-Language: en\r\n"
    get = b"GET /hello HTTP/1.1\r\n" + fields + b"Cookie: a=%d\r\n\r\n"
    post = b"POST /echo HTTP/1.1\r\n" + fields + b"Content-Length: 100\r\n\r\n" + bytes(100)
    answer = [("content-type", "text/plain"), ("date", "Sun, 29 Nov 2026 12:00:00 GMT")]
    head, chunked = PreparedHead(200, Headers(answer)), [*answer, ("transfer-encoding", "chunked")]
    core, out = Connection(SERVER), b""
    for number in range(count):
        core.receive_data(get % number if number % 4 else post)
        while (event := core.next_event()) is not None:
            if isinstance(event, RequestHead):
                core.skip_empty_body()
        if number % 4:
            out = core.send_whole(head, b"Hello, World!")
        else:
            out = core.send(ResponseHead(200, Headers(chunked))) + core.send(Data(b"Hello")) + core.send(EndOfMessage())
    return out


def websocket(count: int) -> bytes:
    """Echo sixteen messages of 64 bytes, and one of 16 KiB."""
    from minproto.core import SERVER
    from minproto.fast.websocket import Connection
    from minproto.websocket import BINARY, FIN, Message, encode_frame

    core, out = Connection(SERVER), b""
    data = encode_frame(FIN | BINARY, bytes(range(64)), b"\x01\x02\x03\x04") * 16
    data += encode_frame(FIN | BINARY, bytes(16_384), b"\x01\x02\x03\x04")
    for _ in range(count):
        core.receive_data(data)
        for event in core.events():
            assert isinstance(event, Message)
            out = core.send(event)
    return out


def http2(count: int) -> bytes:
    """A GET with six fields, answered with a head and content. The client's bytes are made before the measurement."""
    from minproto.core import SERVER
    from minproto.fast.http2 import Connection
    from minproto.http import Data, EndOfMessage, Headers, RequestHead, ResponseHead

    client, server = Connection(_client()), Connection(SERVER)
    server.receive_data(client.send(client.greeting()))
    client.receive_data(server.send(server.greeting()))
    fields = [("user-agent", "Mozilla/5.0"), ("accept", "*/*"), ("accept-encoding", "gzip"), ("cookie", "a=1")]
    answer = [("content-type", "text/plain"), ("date", "Sun, 29 Nov 2026 12:00:00 GMT")]
    out = b""
    for connection, peer in ((client, server), (server, client)):  # each acknowledges the settings of the other
        for event in list(connection.events()):
            if (reply := connection.reply(event)) is not None:
                peer.receive_data(connection.send(reply))
    for _ in range(count):
        stream = client.next_stream
        request = RequestHead("GET", "/hello", Headers([("host", "a"), *fields]), stream=stream)
        server.receive_data(client.send(request) + client.send(EndOfMessage(stream=stream)))
        for event in server.events():
            if isinstance(event, RequestHead):
                out = server.send(ResponseHead(200, Headers(answer), stream=stream))
                out += server.send(Data(b"Hello, World!", stream=stream)) + server.send(EndOfMessage(stream=stream))
        client.receive_data(out)
        for event in client.events():
            client.reply(event)
    return out


def _client() -> Any:
    from minproto.core import CLIENT

    return CLIENT


def resp(count: int) -> bytes:
    """Sixteen PUBLISH commands in one chunk."""
    from minproto.core import SERVER
    from minproto.fast.resp import Connection
    from minproto.resp import Command, Limits, Reply

    core, out = Connection(SERVER, Limits()), b""
    core.authenticated = True
    data = b"*3\r\n$7\r\nPUBLISH\r\n$4\r\nnews\r\n$64\r\n" + bytes(64) + b"\r\n"
    for _ in range(count):
        core.receive_data(data * 16)
        for event in core.events():
            assert isinstance(event, Command)
            out = core.send(Reply(len(event.arguments)))
    return out


def broker(count: int) -> bytes:
    """A message for one of 100 subscribers, each with a pattern of its own."""
    from minproto.fast.broker import Broker

    hub, out = Broker(time.time), 0
    subscriptions = [hub.subscribe(patterns=[f"room.{number}.*"]) for number in range(100)]
    for number in range(count):
        out += hub.publish(f"room.{number % 100}.chat", b"hello")
        out += len(subscriptions[number % 100].take(10))
    return b"%d" % out


def shell(count: int) -> bytes:
    """Sixteen requests for /hello on 16 connections, from the bytes of a transport in memory to the bytes of the answers."""
    import asyncio

    from minproto import Response, Server
    from minproto.aio.cores import chosen
    from minproto.aio.pipe import StreamPipe

    class Transport(asyncio.Transport):
        """Counts an answer of the server, and sends the next request."""

        def __init__(self, done: "asyncio.Future[None]") -> None:
            super().__init__()
            self.left, self.done, self.out = count, done, b""

        def write(self, data: Any) -> None:
            self.out = bytes(data)
            self.left -= 1
            if self.left > 0:
                asyncio.get_running_loop().call_soon(self.protocol.data_received, request)
            elif not self.left:
                self.done.set_result(None)

        def set_protocol(self, protocol: Any) -> None:
            self.protocol = protocol

        def is_closing(self) -> bool:
            return self.left <= 0

        def get_write_buffer_size(self) -> int:
            return 0

        def can_write_eof(self) -> bool:
            return True

        def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
            """Nothing ever waits here."""

        abort = close = pause_reading = resume_reading = write_eof = lambda self: None

    async def app(_: object) -> Response:
        return Response(b"Hello, World!")

    async def main() -> bytes:
        server = Server(app)
        transports = []
        for _ in range(16):
            transport = Transport(asyncio.get_running_loop().create_future())
            protocol = chosen(StreamPipe).protocol(server.attach)
            transport.set_protocol(protocol)
            protocol.connection_made(transport)
            protocol.data_received(request)
            transports.append(transport)
        for transport in transports:
            await transport.done
            transport.protocol.connection_lost(None)
        await server.close()
        return transports[0].out.partition(b"date:")[0]

    request = b"GET /hello HTTP/1.1\r\nHost: localhost:8000\r\n\r\n"
    return asyncio.run(main()) if count else b""


JOBS: dict[str, tuple[Work, int]] = {
    "http1": (http1, 1_000),
    "websocket": (websocket, 150),
    "http2": (http2, 400),
    "resp": (resp, 200),
    "broker": (broker, 1_000),
    "shell": (shell, 100),
}
"""Each job, and how often one run does its work."""


# ---- what can be taken out ---------------------------------------------------------------------------------------------

TRICKS = ["Deadline", "WriteBatch", "ProtocolPipe"]
"""The short cuts of the shells."""
ALL, NOTHING = "all of them", ""


def overrides(job: str) -> Iterator[tuple[type, str]]:
    """Yield the fast classes of a core, each with the name of a method or attribute that it replaces."""
    fast = importlib.import_module(f"minproto.fast.{job}")
    for kind in vars(fast).values():
        if isinstance(kind, type) and kind.__module__ == fast.__name__ and kind.__base__ is not object:
            for name in list(vars(kind)):
                if not name.startswith("__") and hasattr(kind.__base__, name):
                    yield kind, name


def names(job: str) -> list[str]:
    """Return the names of a job's short cuts."""
    return TRICKS if job == "shell" else [f"{kind.__name__}.{name}" for kind, name in overrides(job)]


def take_out(job: str, name: str) -> None:
    """Remove a short cut from this process."""
    wanted = names(job) if name == ALL else [name]
    if job != "shell":
        for kind, attribute in list(overrides(job)):
            if f"{kind.__name__}.{attribute}" in wanted:
                delattr(kind, attribute)
        return
    from minproto.aio import cores, endpoint, loop, pipe

    if "Deadline" in wanted:
        endpoint.Deadline = loop.PlainDeadline  # type: ignore[misc, assignment]
    if "WriteBatch" in wanted:
        loop.WriteBatch = loop.PlainWriteBatch  # type: ignore[misc, assignment]
    if "ProtocolPipe" in wanted:
        del cores.FAST[pipe.StreamPipe]


# ---- measuring ---------------------------------------------------------------------------------------------------------


def child(job: str, name: str, count: int, runs: int) -> None:
    """Run as a child: print a digest of the output, and the least CPU time of a run."""
    take_out(job, name)
    work, out, least = JOBS[job][0], b"", float("inf")
    for _ in range(runs):
        began = time.process_time()
        out = work(count)
        least = min(least, time.process_time() - began)
    print(sha256(out).hexdigest(), least)


def start(job: str, name: str, count: int, runs: int, *tool: str) -> tuple[str, float, str]:
    """Run a child. Return the digest, the time, and the text that the child has written on standard error."""
    command = [*tool, sys.executable, "-m", "benchmarks.ablation", "--child", job, name, str(count), str(runs)]
    done = subprocess.run(command, text=True, capture_output=True, env=os.environ | {"PYTHONHASHSEED": "0"})
    digest, seconds = done.stdout.split() if done.returncode == 0 else ("failed", "nan")
    return digest, float(seconds), done.stderr


def instructions(job: str, name: str, count: int) -> int:
    """Return the number of instructions of a child that does the work ``count`` times, in one run."""
    tool = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    said = start(job, name, count, 1, *tool)[2]
    return int(said.rpartition("refs:")[2].split()[0].replace(",", "")) if "refs:" in said else 0


def measure(job: str, pool: ThreadPoolExecutor) -> None:
    """Print the table of a job."""
    count = JOBS[job][1]
    variants = [NOTHING, *names(job), ALL]
    counted = dict.fromkeys([*variants, None], 0)
    if which("valgrind"):
        jobs = [(NOTHING, 0), *((name, count) for name in variants)]
        base, *found = pool.map(lambda it: instructions(job, *it), jobs)
        counted = {name: number - base if number else 0 for name, number in zip(variants, found, strict=True)}
    digests, times = {}, dict.fromkeys(variants, float("inf"))
    for _ in range(ROUNDS):
        for name in variants:
            digests[name], seconds, _ = start(job, name, count, RUNS)
            times[name] = min(times[name], seconds)
    print(f"\n{job:40}{'instructions':>14}{'time':>8}")
    print(f"{'  with all short cuts, for each':40}{counted[NOTHING] / count:14,.0f}{times[NOTHING] / count * 1e6:6.1f} µs")
    for name in variants[1:]:
        note = "" if digests[name] == digests[NOTHING] else "  part of another: not to be taken out alone"
        more = counted[name] / counted[NOTHING] - 1 if counted[name] else float("nan")
        print(f"{f'  without {name}':40}{more:+14.1%}{times[name] / times[NOTHING] - 1:+8.1%}{note}", flush=True)


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        job, name, count, runs = sys.argv[2:]
        return child(job, name, int(count), int(runs))
    wanted = sys.argv[1:] or list(JOBS)
    unknown = [job for job in wanted if job not in JOBS]
    if unknown:
        raise SystemExit(f"there is no job {unknown[0]}: the jobs are {', '.join(JOBS)}")
    if not which("valgrind"):
        print("valgrind is not installed: no instructions are counted")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for job in wanted:
            measure(job, pool)


if __name__ == "__main__":
    main()
