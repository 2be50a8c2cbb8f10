"""Consumer groups with the client libraries of Redis, redis-cli, and our own API: on our broker and on a redis-server."""

import asyncio
import json
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from minproto import RemoteBroker

from .conftest import Address


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py(redis: ModuleType, either: Address, protocol: int) -> None:
    """A job's life: added, delivered, claimed, acknowledged; and what the server says of it."""
    stream = f"py-jobs-{protocol}"
    with redis.Redis(*either, protocol=protocol) as client:
        client.delete(stream)
        assert client.xgroup_create(stream, "workers", id="0", mkstream=True)
        with pytest.raises(redis.ResponseError, match="BUSYGROUP"):
            client.xgroup_create(stream, "workers")
        ids = [client.xadd(stream, {"size": number}, maxlen=100, approximate=False) for number in range(3)]
        assert client.exists(stream) == 1 and client.type(stream) == b"stream"
        got = entries(client.xreadgroup("workers", "w1", {stream: ">"}, count=2))
        assert got == [(ids[0], {b"size": b"0"}), (ids[1], {b"size": b"1"})]
        assert client.xack(stream, "workers", ids[0]) == 1
        assert client.xpending(stream, "workers")["consumers"] == [{"name": b"w1", "pending": 1}]
        (pending,) = client.xpending_range(stream, "workers", "-", "+", 10)
        assert (pending["message_id"], pending["consumer"], pending["times_delivered"]) == (ids[1], b"w1", 1)
        cursor, claimed, deleted = client.xautoclaim(stream, "workers", "w2", min_idle_time=0)
        assert (cursor, claimed, deleted) == (b"0-0", [(ids[1], {b"size": b"1"})], [])
        assert client.xclaim(stream, "workers", "w1", 0, [ids[1]], justid=True) == [ids[1]]
        (info,) = client.xinfo_groups(stream)
        assert (info["consumers"], info["pending"], info["entries-read"], info["lag"]) == (2, 1, 2, 1)
        assert [each["pending"] for each in client.xinfo_consumers(stream, "workers")] == [1, 0]
        assert client.xinfo_stream(stream)["length"] == 3
        assert client.xtrim(stream, maxlen=1, approximate=False) == 2 and client.xdel(stream, ids[2]) == 1
        threading.Timer(0.2, client.xadd, (stream, {"size": "live"})).start()
        live = entries(client.xreadgroup("workers", "w1", {stream: ">"}, block=5_000))
        assert [fields for _, fields in live] == [{b"size": b"live"}]
        assert client.xgroup_delconsumer(stream, "workers", "w1") == 2
        assert client.xgroup_destroy(stream, "workers") and client.delete(stream) == 1


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_workers_that_wait(redis: ModuleType, either: Address, protocol: int) -> None:
    """Four workers block on one group: of forty jobs, each goes to exactly one of them."""
    key, group, got = f"py-waiting-{protocol}", "workers", list[int]()
    with redis.Redis(*either, protocol=protocol) as client:
        client.delete(key)
        client.xgroup_create(key, group, mkstream=True)

        def work(name: str) -> None:
            with redis.Redis(*either, protocol=protocol) as own:
                while answer := own.xreadgroup(group, name, {key: ">"}, count=1, block=1_000):
                    for id, fields in entries(answer):
                        got.append(int(fields[b"n"]))
                        own.xack(key, group, id)

        workers = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(4)]
        for worker in workers:
            worker.start()
        for number in range(40):
            client.xadd(key, {"n": number})
        for worker in workers:
            worker.join()
        assert sorted(got) == list(range(40))
        assert client.xpending(key, group)["pending"] == 0


def entries(answer: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """The entries of one stream in what XREADGROUP gives, as redis-py has it in either version."""
    if isinstance(answer, dict):
        ((found,),) = answer.values()
        return list(found)
    ((_, found),) = answer
    return list(found)


@pytest.mark.needs("redis-cli")
def test_redis_cli(either: Address) -> None:
    said = """del cli-jobs
xgroup create cli-jobs workers 0 mkstream
xadd cli-jobs 1-1 size 7
xreadgroup group workers w1 streams cli-jobs >
xack cli-jobs workers 1-1
xpending cli-jobs workers
"""
    command = ["redis-cli", "-h", either.host, "-p", str(either.port)]
    done = subprocess.run(command, input=said, capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.split()[1:] == ["OK", "1-1", "cli-jobs", "1-1", "size", "7", "1", "0"]


async def test_our_own_workers(either: Address) -> None:
    """Three of them share a hundred jobs; one crashes with a job, and comes back to it."""
    async with RemoteBroker(either.url) as broker, broker.group("our-jobs", "workers") as group:
        done: list[bytes] = []
        all_done = asyncio.Event()

        async def work(name: str, crash: int) -> None:
            async with group.consumer(name) as consumer:
                async for job in consumer:
                    if len(done) >= crash:
                        return
                    assert await job.ack()
                    done.append(job.data)
                    if len(done) == 100:
                        all_done.set()

        for number in range(100):
            await group.add(b"%d" % number)
        async with asyncio.timeout(30):
            await work("a", crash=10)
            workers = [asyncio.create_task(work(name, crash=1_000)) for name in "abc"]
            await all_done.wait()
        for worker in workers:
            worker.cancel()
        await asyncio.wait(workers)
        assert sorted(done, key=int) == [b"%d" % number for number in range(100)]


# ---- Node ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Any]:
    """Runs a program that has npm's redis and ioredis, with the URL of a broker."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if not npm or not node:
        pytest.skip("node and npm are not installed")
    folder: Path = tmp_path_factory.mktemp("node-groups")
    install = [npm, "install", "redis@5", "ioredis@5", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0"]
    try:
        subprocess.run(install, cwd=folder, check=True, capture_output=True, text=True, timeout=90)
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"npm install failed: {getattr(error, 'stderr', '') or error}")

    def run(program: str, url: str) -> Any:
        done = subprocess.run([node, "-e", program, url], cwd=folder, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


NODE_REDIS = """
const { createClient } = require("redis")
async function main() {
  const client = createClient({ url: process.argv[1] }), worker = client.duplicate()
  await client.connect(); await worker.connect()
  await client.del("node-jobs")
  await client.xGroupCreate("node-jobs", "workers", "0", { MKSTREAM: true })
  const waiting = worker.xReadGroup("workers", "w1", { key: "node-jobs", id: ">" }, { BLOCK: 5000, COUNT: 1 })
  const id = await client.xAdd("node-jobs", "*", { size: "7" })
  const [{ messages: [job] }] = await waiting
  const claimed = await client.xAutoClaim("node-jobs", "workers", "w2", 0, "0-0")
  const pending = await client.xPending("node-jobs", "workers")
  const groups = await client.xInfoGroups("node-jobs")
  console.log(JSON.stringify([
    job.id === id, job.message, claimed.messages.length, pending.pending, groups[0].lag,
    await client.xAck("node-jobs", "workers", id), await client.xLen("node-jobs"),
  ]))
  client.destroy(); worker.destroy()
}
main().catch(error => { console.error(error); process.exit(1) })
"""
IOREDIS = """
const Redis = require("ioredis")
async function main() {
  const client = new Redis(process.argv[1]), worker = client.duplicate()
  await client.del("io-jobs")
  await client.xgroup("CREATE", "io-jobs", "workers", "$", "MKSTREAM")
  const waiting = worker.xreadgroup("GROUP", "workers", "w1", "COUNT", 1, "BLOCK", 5000, "STREAMS", "io-jobs", ">")
  await client.ping()
  const id = await client.xadd("io-jobs", "*", "size", "7")
  const [[, [[got, fields]]]] = await waiting
  const claimed = await client.xclaim("io-jobs", "workers", "w2", 0, id)
  const pending = await client.xpending("io-jobs", "workers", "-", "+", 10)
  console.log(JSON.stringify([
    got === id, fields, claimed.length, pending.length, pending[0][1], await client.xack("io-jobs", "workers", id),
  ]))
  client.disconnect(); worker.disconnect()
}
main().catch(error => { console.error(error); process.exit(1) })
"""


def test_node_redis(node: Callable[[str, str], Any], either: Address) -> None:
    assert node(NODE_REDIS, either.url) == [True, {"size": "7"}, 1, 1, 0, 1, 1]


def test_ioredis(node: Callable[[str, str], Any], either: Address) -> None:
    assert node(IOREDIS, either.url) == [True, ["size", "7"], 1, 1, "w2", 1]
