"""Consumer groups with the clients that people use: redis-py, node-redis, ioredis and redis-cli, on our broker and on Redis.

Each client tells the same story. Two workers share the jobs of a group, one of them dies with a job in hand, and the other
one takes this job over: no job is lost, and none is done twice.
"""

import json
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from .conftest import Address


def pairs(answer: Any) -> list[tuple[bytes, Any]]:
    """Return what XREADGROUP gives, as redis-py has it in either version of RESP."""
    if isinstance(answer, dict):
        return [(name, lists[0]) for name, lists in answer.items()]
    return [(name, entries) for name, entries in answer]


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py(redis: ModuleType, either: Address, protocol: int) -> None:
    key, group = f"py-jobs-{protocol}", "workers"
    with redis.Redis(*either, protocol=protocol) as client:
        assert client.xgroup_create(key, group, mkstream=True)
        with pytest.raises(redis.ResponseError, match="BUSYGROUP"):
            client.xgroup_create(key, group)
        ids = [client.xadd(key, {"n": number, "what": "ship"}) for number in range(5)]
        ((name, first),) = pairs(client.xreadgroup(group, "w1", {key: ">"}, count=2))
        assert (name, first) == (key.encode(), [(id, {b"n": b"%d" % n, b"what": b"ship"}) for n, id in enumerate(ids[:2])])
        ((_, second),) = pairs(client.xreadgroup(group, "w2", {key: ">"}))
        assert [id for id, _ in second] == ids[2:]
        assert client.xack(key, group, ids[0], *ids[2:]) == 4
        pending = client.xpending(key, group)
        assert (pending["pending"], pending["consumers"]) == (1, [{"name": b"w1", "pending": 1}])
        ((_, own),) = pairs(client.xreadgroup(group, "w1", {key: "0"}))
        assert [id for id, _ in own] == [ids[1]]
        # w1 has died: w2 takes over what nobody has acknowledged.
        start, taken, deleted = client.xautoclaim(key, group, "w2", min_idle_time=0)
        assert (start, [id for id, _ in taken], deleted) == (b"0-0", [ids[1]], [])
        (entry,) = client.xpending_range(key, group, "-", "+", 10)
        assert (entry["message_id"], entry["consumer"], entry["times_delivered"]) == (ids[1], b"w2", 3)
        assert client.xclaim(key, group, "w1", min_idle_time=0, message_ids=[ids[1]], justid=True) == [ids[1]]
        assert client.xack(key, group, ids[1], ids[1]) == 1
        (facts,) = client.xinfo_groups(key)
        assert (facts["consumers"], facts["pending"], facts["lag"], facts["last-delivered-id"]) == (2, 0, 0, ids[-1])
        assert [each["name"] for each in client.xinfo_consumers(key, group)] == [b"w1", b"w2"]
        assert client.xdel(key, ids[4]) == 1 and client.xtrim(key, maxlen=2, approximate=False) == 2
        assert client.xgroup_delconsumer(key, group, "w2") == 0 and client.xgroup_destroy(key, group)


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_workers_that_wait(redis: ModuleType, either: Address, protocol: int) -> None:
    """Four workers block on one group: of forty jobs, each goes to exactly one of them."""
    key, group, got = f"py-waiting-{protocol}", "workers", []
    with redis.Redis(*either, protocol=protocol) as client:
        client.xgroup_create(key, group, mkstream=True)

        def work(name: str) -> None:
            with redis.Redis(*either, protocol=protocol) as own:
                while answer := own.xreadgroup(group, name, {key: ">"}, count=1, block=1_000):
                    for _, entries in pairs(answer):
                        for id, fields in entries:
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


def test_redis_cli(either: Address) -> None:
    """What a person types, and sees."""
    program = shutil.which("redis-cli")
    if program is None:
        pytest.skip("redis-cli is not installed")

    def cli(*words: str) -> list[str]:
        command = [program, "-h", either.host, "-p", str(either.port), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.split("\n")[:-1]

    assert cli("XGROUP", "CREATE", "cli-jobs", "g", "$", "MKSTREAM") == ["OK"]
    assert cli("XADD", "cli-jobs", "5-1", "what", "ship") == ["5-1"]
    assert cli("XREADGROUP", "GROUP", "g", "w1", "STREAMS", "cli-jobs", ">") == ["cli-jobs", "5-1", "what", "ship"]
    assert cli("XPENDING", "cli-jobs", "g") == ["1", "5-1", "5-1", "w1", "1"]
    assert cli("XACK", "cli-jobs", "g", "5-1") == ["1"]
    assert cli("XREADGROUP", "GROUP", "g", "w1", "STREAMS", "cli-jobs", ">") == [""]
    assert cli("XREADGROUP", "GROUP", "none", "w1", "STREAMS", "cli-jobs", ">")[0].startswith("NOGROUP No such key 'cli-jobs'")


PACKAGES = ("redis@5", "ioredis@5")
NODE_REDIS = """
const { createClient } = require("redis"), assert = require("assert")
const [url, RESP] = JSON.parse(process.argv[1])

async function main() {
  const client = createClient({ url, RESP, unstableResp3: true }), key = "node-jobs-" + RESP
  client.on("error", error => { throw error })
  await client.connect()
  await client.xGroupCreate(key, "g", "$", { MKSTREAM: true })
  const ids = []
  for (const n of [1, 2, 3]) ids.push(await client.xAdd(key, "*", { n: String(n) }))
  const read = await client.xReadGroup("g", "w1", { key, id: ">" }, { COUNT: 2, BLOCK: 1000 })
  const entries = (Array.isArray(read) ? read[0].messages : Object.values(read)[0])
  const jobs = entries.map(entry => entry.message ? entry.message.n : entry[1][1])  // as it came, in version 3
  assert.deepEqual(jobs, ["1", "2"])
  assert.equal(await client.xAck(key, "g", ids[0]), 1)
  const pending = await client.xPending(key, "g")
  assert.deepEqual([pending.pending, pending.firstId, pending.consumers.length], [1, ids[1], 1])
  const range = await client.xPendingRange(key, "g", "-", "+", 10)
  assert.deepEqual([range.length, range[0].consumer, range[0].deliveriesCounter], [1, "w1", 1])
  const claimed = await client.xAutoClaim(key, "g", "w2", 0, "0-0")
  assert.deepEqual(claimed.messages.map(entry => entry.message.n), ["2"])
  const groups = await client.xInfoGroups(key)
  assert.deepEqual([groups[0].name, groups[0].consumers, groups[0].pending, groups[0].lag], ["g", 2, 1, 1])
  console.log(JSON.stringify("done"))
  client.destroy()
}
main().catch(error => { console.error(error); process.exit(1) })
"""
IOREDIS = """
const Redis = require("ioredis"), assert = require("assert")
const [url] = JSON.parse(process.argv[1])

async function main() {
  const client = new Redis(url), waiting = new Redis(url), key = "io-jobs"
  await client.xgroup("CREATE", key, "g", "$", "MKSTREAM")
  const waits = waiting.xreadgroup("GROUP", "g", "w1", "BLOCK", 5000, "STREAMS", key, ">")
  await new Promise(done => setTimeout(done, 100))
  const id = await client.xadd(key, "*", "n", "1")
  assert.deepEqual(await waits, [[key, [[id, ["n", "1"]]]]])
  assert.deepEqual((await client.xpending(key, "g", "-", "+", 10))[0].slice(0, 2), [id, "w1"])
  assert.deepEqual((await client.xclaim(key, "g", "w2", 0, id)), [[id, ["n", "1"]]])
  assert.equal(await client.xack(key, "g", id), 1)
  const results = await client.pipeline().xadd(key, "*", "n", "2").xlen(key).exec()
  assert.equal(results[1][1], 2)
  console.log(JSON.stringify("done"))
  client.disconnect(); waiting.disconnect()
}
main().catch(error => { console.error(error); process.exit(1) })
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Runs a program that has npm's redis and ioredis."""
    npm, program = shutil.which("npm"), shutil.which("node")
    if not npm or not program:
        pytest.skip("node and npm are not installed")
    folder: Path = tmp_path_factory.mktemp("node-groups")
    install = [npm, "install", *PACKAGES, "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0"]
    try:
        subprocess.run(install, cwd=folder, check=True, capture_output=True, text=True, timeout=120)
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"npm install failed: {getattr(error, 'stderr', '') or error}")

    def run(text: str, *arguments: Any) -> Any:
        done = subprocess.run(
            [program, "-e", text, json.dumps(arguments)], cwd=folder, capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.mark.parametrize("version", [2, 3])
def test_node_redis(node: Callable[..., Any], either: Address, version: int) -> None:
    assert node(NODE_REDIS, either.url, version) == "done"


def test_ioredis(node: Callable[..., Any], either: Address) -> None:
    assert node(IOREDIS, either.url) == "done"
