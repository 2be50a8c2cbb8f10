"""Our client of a broker in another process, unchanged against our own and against a redis-server."""

import asyncio
import gc
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from minproto import (
    Broker,
    BrokerServer,
    Gap,
    Message,
    RemoteBroker,
    RemoteProtocolError,
    RemoteSubscription,
    Timeouts,
)

from .conftest import Address, Certificate
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
    process = _start(kind, port)
    try:
        async with asyncio.timeout(90), RemoteBroker(f"redis://127.0.0.1:{port}") as broker:
            async with broker.subscribe("our-gap") as subscription:
                await _published(broker, b"before")
                assert await anext(subscription) == Message("our-gap", "", b"before")
                process.kill()
                process.wait()
                process = _start(kind, port)
                assert await anext(subscription) == Gap(None)
                await _published(broker, b"after")
                assert await anext(subscription) == Message("our-gap", "", b"after")
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("kind", ["minproto", "redis"])
async def test_restarts_are_heard_by_nobody_but_the_callers(kind: str) -> None:
    """Publishers are told, subscriptions go on; no exception is left for the loop's handler, and no traceback in the log."""
    heard: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: heard.append(context))
    port = free_port()
    process = _start(kind, port)
    url = f"redis://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(90), RemoteBroker(url) as broker, broker.subscribe("our-restart") as subscription:
            stopped = asyncio.Event()
            told = [asyncio.create_task(_publish_until(stopped, broker)) for _ in range(9)]
            listening = asyncio.create_task(_gaps(subscription, 3))
            for _ in range(3):
                await asyncio.sleep(0.2)
                process.kill()
                process.wait()
                await asyncio.sleep(0.2)
                process = _start(kind, port)
                await _published(broker, b"back", "our-restart")
            await listening
            stopped.set()
            errors = [error for errors in await asyncio.gather(*told) for error in errors]
            assert errors and all(isinstance(error, OSError) for error in errors)
    finally:
        process.kill()
        process.wait()
    gc.collect()
    assert heard == []


async def _publish_until(stopped: asyncio.Event, broker: RemoteBroker) -> list[Exception]:
    errors: list[Exception] = []
    while not stopped.is_set():
        try:
            async with asyncio.timeout(5):
                await broker.publish("our-load", b"x" * 900_000)  # so that some are cut off while they send
        except OSError as error:
            errors.append(error)
            await asyncio.sleep(0.01)
    return errors


async def _gaps(subscription: RemoteSubscription, count: int) -> None:
    async for item in subscription:
        count -= isinstance(item, Gap)
        if not count:
            return


async def test_resume_from_our_own_broker(broker: Address) -> None:
    """The rest, and then live, with ids; a fresh client resumes where another one was."""
    async with asyncio.timeout(30), RemoteBroker(broker.url) as remote:
        start = await remote.last_id("our-history")
        for number in range(50):
            await remote.publish("our-history", b"%d" % number)
        async with remote.subscribe("our-history", after=start) as subscription:
            first = [await anext(subscription) for _ in range(30)]
        last = first[-1]
        assert isinstance(last, Message)
        async with remote.subscribe("our-history", after=last.id) as subscription:
            publishing = asyncio.create_task(remote.publish("our-history", b"50"))
            second = [await anext(subscription) for _ in range(21)]
            await publishing
        items = first + second
        assert [isinstance(item, Message) and item.data for item in items] == [b"%d" % number for number in range(51)]
        async with remote.subscribe("our-history", last=3) as subscription:
            assert [await anext(subscription) for _ in range(3)] == items[-3:]


async def test_a_redis_server_has_no_history_of_what_is_published(redis_server: Address) -> None:
    async with RemoteBroker(redis_server.url) as remote:
        await remote.publish("our-history", b"x")
        with pytest.raises(RemoteProtocolError, match="the broker keeps no history of our-history: ERR no such key"):
            async with remote.subscribe("our-history", last=3):
                pass


async def test_a_stream_of_a_redis_server_can_be_listened_to(redis: ModuleType, redis_server: Address) -> None:
    """If somebody adds entries with the one field data. What it has trimmed is a gap."""
    async with asyncio.timeout(30), RemoteBroker(redis_server.url) as remote:
        with redis.Redis(*redis_server) as client:
            client.xadd("our-stream", {"data": "0"}, id="5-0")
            async with remote.subscribe("our-stream", after="5-0") as subscription:
                for number in range(1, 20):
                    client.xadd("our-stream", {"data": f"{number}"})
                got = [await anext(subscription) for _ in range(19)]
                assert [isinstance(item, Message) and item.data for item in got] == [b"%d" % n for n in range(1, 20)]
            client.xtrim("our-stream", maxlen=2, approximate=False)
            async with remote.subscribe("our-stream", after="5-0") as subscription:
                assert [await anext(subscription) for _ in range(3)] == [Gap(None), *got[-2:]]
            client.xadd("our-stream", {"other": "x"})
            with pytest.raises(RemoteProtocolError, match="without the one field data"):
                async with remote.subscribe("our-stream", last=1):
                    pass


async def test_someone_elses_large_message_is_a_gap(redis: ModuleType, redis_server: Address) -> None:
    """A redis-server takes 512 MiB. The connection goes on."""
    async with asyncio.timeout(30), RemoteBroker(redis_server.url) as remote:
        async with remote.subscribe("our-large") as subscription:
            with redis.Redis(*redis_server) as client:
                for size in (10, 1 << 20, (1 << 20) + 1, 20 << 20, 5):
                    assert client.publish("our-large", b"x" * size) == 1
            items = [await anext(subscription) for _ in range(5)]
        assert [len(item.data) if isinstance(item, Message) else item.count for item in items] == [10, 1 << 20, 1, 1, 5]
        assert isinstance(items[2], Gap) and "1,048,577 bytes" in str(items[2].reason)


@pytest.mark.parametrize("path", ["", "/1"])
async def test_urls(path: str, either: Address) -> None:
    async with RemoteBroker(f"redis://{either.host}:{either.port}{path}?db=2&protocol=3") as remote:
        assert await remote.publish("our", b"x") == 0


async def test_a_unix_socket(tmp_path: Path) -> None:
    process, path = _start("redis", 0, "--unixsocket", f"{tmp_path}/s", "--requirepass", "secret"), tmp_path / "s"
    try:
        async with asyncio.timeout(10), RemoteBroker(f"unix://:secret@{path}") as remote:
            async with remote.subscribe("our") as subscription:  # which waits for the server to come
                assert await remote.publish("our", b"x") == 1
                assert await anext(subscription) == Message("our", "", b"x")
    finally:
        process.kill()
        process.wait()
    async with RemoteBroker(f"unix://{tmp_path}/gone") as remote:
        with pytest.raises(FileNotFoundError, match=f"{tmp_path}/gone"):
            await remote.publish("our", b"x")


async def test_tls_to_a_clear_port_and_the_other_way_round(certificate: Certificate, trust: ssl.SSLContext) -> None:
    """Both are named, on every path; a silent port, as a redis-server's, within the handshake's time."""
    server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_tls.load_cert_chain(certificate.chain, certificate.key)
    async with BrokerServer(Broker(), port=0) as clear, BrokerServer(Broker(), port=0, ssl=server_tls) as secret:
        async with RemoteBroker(secret.url, ssl=trust) as remote, remote.subscribe("our"):
            assert await remote.publish("our", b"x") == 1
        async with RemoteBroker(clear.url.replace("redis:", "rediss:"), ssl=trust) as remote:
            with pytest.raises(ConnectionError, match="does not speak TLS"):
                await remote.publish("our", b"x")
            with pytest.raises(ConnectionError, match="does not speak TLS"):
                async with remote.subscribe("our"):
                    pass
        async with RemoteBroker(secret.url.replace("rediss:", "redis:")) as remote:
            with pytest.raises((ConnectionResetError, RemoteProtocolError), match=r"TLS.*rediss://"):
                await remote.publish("our", b"x")


async def test_a_silent_port_is_named() -> None:
    """It takes the connection, and answers neither a TLS handshake nor a password."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        timeouts = Timeouts(handshake=0.3)
        for url, words in (("rediss://", "TLS handshake within 0.3 s"), ("redis://:x@", "has not answered within 0.3 s")):
            async with RemoteBroker(f"{url}127.0.0.1:{port}", timeouts=timeouts) as remote:
                with pytest.raises(TimeoutError, match=words):
                    await remote.publish("our", b"x")


def _start(kind: str, port: int, *options: str) -> subprocess.Popen[bytes]:
    ours = [sys.executable, "-m", "minproto", "broker", "--port", str(port)]
    theirs = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", *options]
    if kind == "redis" and not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed")
    return subprocess.Popen(ours if kind == "minproto" else theirs, stdout=subprocess.DEVNULL)


async def _published(broker: RemoteBroker, data: bytes, topic: str = "our-gap") -> None:
    """Publish until somebody has heard it."""
    while True:
        try:
            if await broker.publish(topic, data) == 1:
                return
        except OSError:
            pass
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
