"""The client libraries of Redis, redis-cli and redis-benchmark, with our broker as their server."""

import asyncio
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from .conftest import Address
from .serving import wait_until

# ---- redis-py --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py(redis: ModuleType, broker: Address, protocol: int) -> None:
    """Publish and subscribe, by topic and pattern, with its defaults (it says HELLO and SETINFO)."""
    with redis.Redis(*broker, protocol=protocol, client_name="test") as client, client.pubsub() as pubsub:
        assert client.ping() and client.echo("hi") == b"hi" and client.client_getname() in ("test", b"test")
        pubsub.subscribe("py-a", "py-b")
        pubsub.psubscribe("py-?")
        confirmed = [pubsub.get_message(timeout=5) for _ in range(3)]
        assert [(item["type"], item["data"]) for item in confirmed] == [("subscribe", 1), ("subscribe", 2),
        ("psubscribe", 3)]
        assert client.publish("py-a", b"\x00\xff") == 2
        first, second = (pubsub.get_message(timeout=5) for _ in range(2))
        assert (first["type"], first["channel"], first["data"]) == ("message", b"py-a", b"\x00\xff")
        assert (second["type"], second["pattern"], second["channel"]) == ("pmessage", b"py-?", b"py-a")
        assert dict(client.pubsub_numsub("py-a", "py-x")) == {b"py-a": 1, b"py-x": 0}
        assert set(client.pubsub_channels("py-*")) == {b"py-a", b"py-b"} and client.pubsub_numpat() >= 1
        pubsub.ping()
        assert pubsub.get_message(timeout=5)["type"] == "pong"
        pubsub.unsubscribe()
        pubsub.punsubscribe()
        assert client.info()["redis_version"].startswith("7.0.")


def test_redis_py_pipeline(redis: ModuleType, broker: Address) -> None:
    """A thousand commands at once; errors come where they belong."""
    with redis.Redis(*broker) as client, client.pipeline(transaction=False) as pipe:
        for number in range(1_000):
            pipe.publish("py-pipeline", f"{number}")
        pipe.execute_command("nothing")
        pipe.xlen("py-pipeline")
        *counts, error, length = pipe.execute(raise_on_error=False)
    assert counts == [0] * 1_000 and length == 1_000
    assert isinstance(error, redis.ResponseError) and "unknown command 'nothing'" in str(error)


def test_redis_py_transaction(redis: ModuleType, broker: Address) -> None:
    """It is refused, nothing of it has run, and the connection goes on."""
    with redis.Redis(*broker) as client, client.pipeline(transaction=True) as pipe:
        for _ in range(2):
            pipe.publish("py-multi", "1").publish("py-multi", "2")
            with pytest.raises(redis.ResponseError, match="unknown command 'MULTI': this broker has no transactions"):
                pipe.execute()
        assert client.xlen("py-multi") == 0
        assert client.publish("py-multi", "3") == 0
        with pytest.raises(redis.ResponseError, match="unknown command 'WATCH'"):
            pipe.watch("py-multi")
        entries = client.xrevrange("py-multi", count=1)
        assert entries[0][1] == {b"data": b"3"}
        assert client.xinfo_stream("py-multi")["length"] == 1


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_streams(redis: ModuleType, broker: Address, protocol: int) -> None:
    """A topic's history read as a stream, from its beginning, behind an id, and waiting for what comes."""
    topic = f"py-stream-{protocol}"
    with redis.Redis(*broker, protocol=protocol) as client:
        for number in range(3):
            client.publish(topic, f"{number}")
        entries = client.xrange(topic)
        assert [fields for _, fields in entries] == [{b"data": b"%d" % number} for number in range(3)]
        assert client.xrange(topic, min=entries[1][0], count=1) == entries[1:2]
        ((name, rest),) = in_pairs(client.xread({topic: entries[0][0]}))
        assert (name, rest) == (topic.encode(), entries[1:])
        threading.Timer(0.2, client.publish, (topic, "live")).start()
        ((_, live),) = in_pairs(client.xread({topic: "$"}, block=5_000))
        assert [fields for _, fields in live] == [{b"data": b"live"}]
        assert not client.xread({topic: "$"}, block=10)


def in_pairs(answer: Any) -> list[tuple[bytes, Any]]:
    """What XREAD gives, as redis-py has it in either version."""
    if isinstance(answer, dict):
        return [(name, lists[0]) for name, lists in answer.items()]
    return [(name, entries) for name, entries in answer]


async def test_redis_py_asyncio(redis: ModuleType, broker: Address) -> None:
    """Its asyncio client: two thousand messages in order, while the subscriber pings."""
    import redis.asyncio

    client = redis.asyncio.Redis(host=broker.host, port=broker.port)
    pubsub = client.pubsub()
    await pubsub.subscribe("py-asyncio")

    async def publish() -> None:
        for number in range(2_000):
            assert await client.publish("py-asyncio", f"{number}") == 1

    publishing = asyncio.create_task(publish())
    got: list[bytes] = []
    async with asyncio.timeout(30):
        async for message in pubsub.listen():
            if message["type"] == "message":
                got.append(message["data"])
            if len(got) % 500 == 100:
                await pubsub.ping()
            if len(got) == 2_000:
                break
    await publishing
    assert got == [b"%d" % number for number in range(2_000)]
    await pubsub.aclose()
    await client.aclose()


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_password(redis: ModuleType, broker_with_password: Address, protocol: int) -> None:
    with redis.Redis(*broker_with_password, password="secret", protocol=protocol) as client:
        assert client.ping()
    for wrong in ({}, {"password": "wrong"}):
        with redis.Redis(*broker_with_password, protocol=protocol, **wrong) as client:
            with pytest.raises(redis.AuthenticationError):
                client.ping()


# ---- redis-cli and redis-benchmark -----------------------------------------------------------------------------------


def cli(broker: Address, *words: str, stdin: str | None = None) -> str:
    command = ["redis-cli", "-h", broker.host, "-p", str(broker.port), *words]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.needs("redis-cli")
def test_redis_cli(broker: Address) -> None:
    assert cli(broker, "ping") == "PONG\n"
    assert cli(broker, "publish", "cli", "hi") == "0\n"
    assert cli(broker, "-3", "ping", "hello") == "hello\n"
    assert cli(broker, stdin='echo "a b"\nclient setname x\nclient getname\nxlen cli\n') == "a b\nOK\nx\n1\n"
    assert cli(broker, "xrange", "cli", "-", "+").endswith("\ndata\nhi\n")
    assert "redis_version:7.0" in cli(broker, "info", "server")
    assert "ERR unknown command 'get'" in cli(broker, "get", "a")


@pytest.mark.needs("redis-cli")
@pytest.mark.parametrize("options", [(), ("-3",)])
def test_redis_cli_help(options: tuple[str, ...], broker: Address) -> None:
    """It asks the server (COMMAND DOCS)."""
    for words, stdin in ((("help", "publish"), None), ((), "help publish\n")):
        said = re.sub(r"\x1b\[[0-9;]*m", "", cli(broker, *options, *words, stdin=stdin))
        assert "PUBLISH channel message\n  summary: Send a message to N subscribers" in said
    assert "SUBSCRIBE channel [channel ...]" in re.sub(r"\x1b\[[0-9;]*m", "", cli(broker, *options, "help", "@pubsub"))
    assert "Listen to N channels" in cli(broker, *options, "help", "@pubsub")


@pytest.mark.needs("redis-cli")
def test_redis_cli_transaction(broker: Address) -> None:
    said = cli(broker, stdin="multi\npublish cli-multi x\nexec\nxlen cli-multi\n").splitlines()
    assert [line for line in said if line][-1] == "0" and "EXECABORT" in "".join(said)


@pytest.mark.needs("redis-cli")
def test_redis_cli_subscribes(broker: Address) -> None:
    command = ["redis-cli", "-h", broker.host, "-p", str(broker.port), "psubscribe", "cli-*"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: cli(broker, "publish", "cli-1", "hello") == "1\n")
        assert process.stdout
        lines = [process.stdout.readline().strip() for _ in range(7)]
        assert lines == ["psubscribe", "cli-*", "1", "pmessage", "cli-*", "cli-1", "hello"]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.needs("redis-cli")
def test_redis_cli_pipe(broker: Address) -> None:
    """Its mass insertion: commands as they are, counted by their replies."""
    data = "".join(f"*3\r\n$7\r\nPUBLISH\r\n$8\r\ncli-pipe\r\n${len(str(n))}\r\n{n}\r\n" for n in range(5_000))
    assert "errors: 0, replies: 5000" in cli(broker, "--pipe", stdin=data)


@pytest.mark.needs("redis-benchmark")
def test_redis_benchmark(broker: Address) -> None:
    """Inline and as arrays, one by one and 16 at once."""
    for pipeline in ("1", "16"):
        words = ["-h", broker.host, "-p", str(broker.port), "-t", "ping", "-n", "2000", "-c", "20", "-P", pipeline, "--csv"]
        done = subprocess.run(["redis-benchmark", *words], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and '"PING_INLINE"' in done.stdout and '"PING_MBULK"' in done.stdout, done.stderr


# ---- node-redis ------------------------------------------------------------------------------------------------------

NODE = """
const { createClient } = require("redis"), assert = require("assert")
const [url, RESP] = JSON.parse(process.argv[1])

async function main() {
  const client = createClient({ url, RESP, unstableResp3: true }), subscriber = client.duplicate()
  for (const each of [client, subscriber]) each.on("error", error => { throw error })
  await client.connect(); await subscriber.connect()
  const got = [], many = "node-many-" + RESP
  await subscriber.subscribe("node", (message, channel) => got.push([channel, message]))
  await subscriber.pSubscribe("nod?", (message, channel) => got.push(["p " + channel, message]))
  await subscriber.subscribe("node-bytes", message => got.push(["bytes", message.toString("hex")]), true)
  assert.equal(await client.ping(), "PONG")
  assert.equal(await client.publish("node", "hello"), 2)
  assert.equal(await client.publish("node-bytes", Buffer.from([0, 255])), 1)
  const counts = await Promise.all([...Array(500).keys()].map(n => client.publish(many, String(n))))
  assert.equal(counts.length, 500)
  while (got.length < 3) await new Promise(done => setTimeout(done, 10))
  const entries = await client.xRange(many, "-", "+")
  assert.deepEqual(entries.map(entry => entry.message.data), [...Array(500).keys()].map(String))
  const read = await client.xRead({ key: many, id: entries[497].id }, { BLOCK: 1000 })
  assert.equal((Array.isArray(read) ? read[0].messages : Object.values(read)[0]).length, 2)
  await assert.rejects(client.sendCommand(["nothing"]), /unknown command/)
  await assert.rejects(client.multi().publish("node-multi", "1").exec(), /unknown command 'MULTI'/)
  assert.equal(await client.xLen("node-multi"), 0)
  await subscriber.unsubscribe(["node", "node-bytes"]); await subscriber.pUnsubscribe("nod?")
  assert.equal(await subscriber.ping(), "PONG")
  console.log(JSON.stringify(got))
  client.destroy(); subscriber.destroy()
}
main().catch(error => { console.error(error); process.exit(1) })
"""


@pytest.fixture(scope="session")
def node_redis(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Runs a program that has npm's redis."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if not npm or not node:
        pytest.skip("node and npm are not installed")
    folder: Path = tmp_path_factory.mktemp("node-redis")
    install = [npm, "install", "redis@5", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0"]
    try:
        subprocess.run(install, cwd=folder, check=True, capture_output=True, text=True, timeout=60)
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"npm install redis failed: {getattr(error, 'stderr', '') or error}")

    def run(program: str, *arguments: Any) -> Any:
        command = [node, "-e", program, json.dumps(arguments)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.mark.parametrize("version", [2, 3])
def test_node_redis(node_redis: Callable[..., Any], broker: Address, version: int) -> None:
    got = node_redis(NODE, broker.url, version)
    assert got == [["node", "hello"], ["p node", "hello"], ["bytes", "00ff"]]
