"""Socket.IO with its sharded adapter: servers in two processes' stead, whose rooms meet in the broker's shard channels."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import Address

PACKAGES = ("socket.io@4", "socket.io-client@4", "@socket.io/redis-adapter@8", "redis@5")
PROGRAM = """
const { Server } = require("socket.io"), { io } = require("socket.io-client"), assert = require("assert")
const { createClient } = require("redis"), { createShardedAdapter } = require("@socket.io/redis-adapter")
const [url, RESP, subscriptionMode] = JSON.parse(process.argv[1])

async function main() {
  const clients = [], sockets = []
  async function server() {
    const pub = createClient({ url, RESP, unstableResp3: true }), sub = pub.duplicate()
    for (const each of [pub, sub]) { each.on("error", error => { throw error }); await each.connect(); clients.push(each) }
    const made = new Server({ adapter: createShardedAdapter(pub, sub, { subscriptionMode }) })
    made.on("connection", socket => {
      socket.on("join", async (room, done) => { await socket.join(room); done() })
      socket.on("say", (room, text) => made.to(room).emit("heard", text))
      socket.on("count", async done => done((await made.fetchSockets()).length))
    })
    made.listen(0)
    return made
  }
  const servers = [await server(), await server()]
  const heard = []
  for (const [n, made] of servers.entries()) {
    const socket = io("http://127.0.0.1:" + made.httpServer.address().port, { transports: ["websocket"] })
    socket.on("heard", text => heard.push([n, text]))
    await new Promise(done => socket.on("connect", done))
    await socket.emitWithAck("join", "room")
    sockets.push(socket)
  }
  while (await sockets[0].emitWithAck("count") !== 2) await new Promise(done => setTimeout(done, 20))
  sockets[0].emit("say", "room", "from the first"); sockets[1].emit("say", "room", "from the second")
  for (let n = 0; heard.length < 4 && n < 500; n++) await new Promise(done => setTimeout(done, 10))
  console.log(JSON.stringify(heard.sort()))
  for (const each of sockets) each.close()
  for (const each of servers) each.close()
  for (const each of clients) each.destroy()
}
main().then(() => process.exit(0), error => { console.error(error); process.exit(1) })
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that has the packages."""
    if not (npm := shutil.which("npm")):
        pytest.skip("npm is not installed")
    made: Path = tmp_path_factory.mktemp("socket-io")
    install = [npm, "install", *PACKAGES, "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0"]
    try:
        subprocess.run(install, cwd=made, check=True, capture_output=True, text=True, timeout=120)
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"npm install socket.io failed: {getattr(error, 'stderr', '') or error}")
    return made


@pytest.mark.needs("node")
@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("mode", ["static", "dynamic"])
def test_rooms_of_two_servers_meet(folder: Path, broker: Address, version: int, mode: str) -> None:
    """"dynamic" has a shard channel for each room, "static" two for all of them; PUBSUB SHARDNUMSUB counts the servers."""
    command = ["node", "-e", PROGRAM, json.dumps([broker.url, version, mode])]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    heard = [[n, text] for n in (0, 1) for text in ("from the first", "from the second")]
    assert json.loads(done.stdout) == heard
