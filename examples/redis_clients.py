"""Two client libraries of Redis, in two languages, meet on our broker: redis-py publishes, and node-redis subscribes.

Neither library notices that there is no redis-server. Needs redis-py (``pip install redis``), node, and npm, with which the
example installs node-redis.

It prints:

    redis-py published one, to 1 subscriber
    redis-py published two, to 1 subscriber
    node-redis got one
    node-redis got two
"""

import asyncio
import subprocess
import sys
import tempfile

from redis.asyncio import Redis

from minproto import Broker, BrokerServer

SUBSCRIBER = """
const { createClient } = require("redis")
const client = createClient({ url: process.argv[1] })
client.connect().then(async () => {
  await client.subscribe("news", message => {
    console.log("node-redis got", message)
    if (message === "two") setImmediate(() => client.destroy())
  })
  console.log("subscribed")
})
"""


def install(folder: str) -> None:
    """Install node-redis. If that fails, end the program with a line that says why."""
    words = ["npm", "install", "redis@5", "--prefix", folder, "--no-audit", "--no-fund", "--ignore-scripts"]
    try:
        subprocess.run(words, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        sys.exit("node and npm are not installed")
    except subprocess.CalledProcessError as error:
        sys.exit(f"npm could not install node-redis: {error.stderr.strip().splitlines()[-1]}")


async def main(folder: str) -> None:
    async with BrokerServer(Broker(), port=0) as server:
        command = ["node", "-e", SUBSCRIBER, server.url]
        node = await asyncio.create_subprocess_exec(*command, cwd=folder, stdout=asyncio.subprocess.PIPE)
        assert node.stdout is not None
        assert await node.stdout.readline() == b"subscribed\n"
        async with Redis.from_url(server.url) as publisher:
            for message in ("one", "two"):
                print(f"redis-py published {message}, to {await publisher.publish('news', message)} subscriber")
        print((await node.stdout.read()).decode(), end="")
        await node.wait()


with tempfile.TemporaryDirectory() as folder:
    install(folder)
    asyncio.run(main(folder))
