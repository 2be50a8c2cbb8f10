"""Our client of a broker in another process, unchanged against our own and against a redis-server."""

import asyncio
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

from minproto import Gap, Message, RemoteBroker, RemoteProtocolError

from .conftest import Address
from .serving import Serving, free_port


async def test_publish_and_subscribe(either: Address) -> None:
    async with RemoteBroker(either.url) as broker:
        async with broker.subscribe("our-a", "our-b", patterns=["our-?"]) as subscription, asyncio.timeout(10):
            assert await broker.publish("our-a", b"\x00\xff") == 2
            assert [await anext(subscription) for _ in range(2)] == [
                Message("our-a", "", b"\x00\xff"), Message("our-a", "", b"\x00\xff", "our-?")
            ]  # fmt: skip
        assert await broker.publish("our-a", b"") == 0


async def test_many_publishers(either: Address) -> None:
    """Two thousand messages of twenty tasks: each task's in order, all counted."""
    async with RemoteBroker(either.url) as broker, broker.subscribe("our-many") as subscription, asyncio.timeout(20):

        async def publish(task: int) -> None:
            for number in range(100):
                assert await broker.publish("our-many", b"%d %d" % (task, number)) == 1

        publishing = asyncio.gather(*(publish(task) for task in range(20)))
        got = [await anext(subscription) for _ in range(2_000)]
        await publishing
        for task in range(20):
            mine = [item.data for item in got if isinstance(item, Message) and item.data.startswith(b"%d " % task)]
            assert mine == [b"%d %d" % (task, number) for number in range(100)]


@pytest.mark.parametrize("kind", ["broker_with_password", "redis_server_with_password"])
async def test_password(kind: str, request: pytest.FixtureRequest) -> None:
    host, port = request.getfixturevalue(kind)
    async with RemoteBroker(f"redis://:secret@{host}:{port}") as broker:
        assert await broker.publish("our", b"x") == 0
    for wrong in (f"redis://{host}:{port}", f"redis://:wrong@{host}:{port}"):
        async with RemoteBroker(wrong) as broker:
            with pytest.raises(RemoteProtocolError, match=r"NOAUTH|WRONGPASS"):
                await broker.publish("our", b"x")


async def test_nobody_there() -> None:
    async with RemoteBroker(f"redis://127.0.0.1:{free_port()}") as broker:
        with pytest.raises(ConnectionRefusedError):
            await broker.publish("our", b"x")


@pytest.mark.parametrize("kind", ["minproto", "redis"])
async def test_a_restart_is_a_gap(kind: str) -> None:
    """The broker is killed and comes back; the subscription goes on by itself."""
    port = free_port()
    ours = [sys.executable, "-m", "minproto", "broker", "--port", str(port)]
    theirs = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    if kind == "redis" and not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed")

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(ours if kind == "minproto" else theirs, stdout=subprocess.DEVNULL)

    process = start()
    try:
        async with asyncio.timeout(30), RemoteBroker(f"redis://127.0.0.1:{port}") as broker:
            async with broker.subscribe("our-gap") as subscription:
                await _published(broker, b"before")
                assert await anext(subscription) == Message("our-gap", "", b"before")
                process.kill()
                process.wait()
                process = start()
                assert await anext(subscription) == Gap(None)
                await _published(broker, b"after")
                assert await anext(subscription) == Message("our-gap", "", b"after")
    finally:
        process.kill()
        process.wait()


async def _published(broker: RemoteBroker, data: bytes) -> None:
    while True:
        try:
            assert await broker.publish("our-gap", data) == 1
            return
        except OSError:
            await asyncio.sleep(0.05)


# ---- the command -----------------------------------------------------------------------------------------------------


def test_the_command_says_what_is_wrong() -> None:
    def fails(*words: str) -> str:
        done = subprocess.run([sys.executable, "-m", "minproto", "broker", *words], capture_output=True, text=True, timeout=20)
        assert done.returncode != 0 and done.stderr.count("\n") == 1 and not done.stdout
        return done.stderr

    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "address already in use" in fails("--port", str(taken.getsockname()[1]))
    assert "not a number of messages: 'x'" in fails("--history", "x")
    assert "not a port" in fails("--port", "x")


def test_the_command_stops_cleanly_under_subscribers(start: Callable[..., Serving]) -> None:
    server = start(name="broker")
    assert server.url.startswith("redis://127.0.0.1:")
    with socket.create_connection((server.host, server.port), timeout=5) as sock:
        sock.sendall(b"SUBSCRIBE a\r\n")
        assert sock.recv(100).startswith(b"*3")
        server.stop(5)
        assert sock.recv(100) == b""
