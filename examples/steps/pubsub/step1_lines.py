r"""Step 1: everything to everybody. A publish/subscribe server in thirty lines.

A client sends a line, such as ``rain in the north\n``. The server sends this line to all clients that are connected, even to
the one that has sent it. The sender does not know who they are. Try it in three terminals (nc sends the lines that you type):

    python examples/steps/pubsub/step1_lines.py 8000
    nc 127.0.0.1 8000                                  # the second terminal, and the third
"""

import asyncio
import contextlib
import sys
from asyncio import StreamReader, StreamWriter

clients: dict[StreamWriter, None] = {}  # a dict without values is a set that keeps its order


async def serve_client(reader: StreamReader, writer: StreamWriter) -> None:
    """Send each line of this client to all clients, until it ends the connection."""
    clients[writer] = None
    try:
        while line := await reader.readline():
            for client in clients:
                client.write(line)
    finally:
        del clients[writer]
        writer.close()


async def main(port: int) -> None:
    """Listen on 127.0.0.1, print the URL, and serve until Ctrl-C. Port 0 lets the system choose a port."""

    async def connected(reader: StreamReader, writer: StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError):  # at Ctrl-C, Python 3.11 would print a traceback
            await serve_client(reader, writer)

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    print(f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.Event().wait()  # never set


if __name__ == "__main__":
    try:
        asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
    except (ValueError, OverflowError, OSError) as error:
        sys.exit(f"no port to listen on: {error}")
    except KeyboardInterrupt:
        pass
