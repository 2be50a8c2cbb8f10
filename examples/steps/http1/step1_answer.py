"""Step 1: answer anything. A server of HTTP/1.1 in forty lines, which works with curl and with a browser.

The server reads once, takes the three words of the first line (``GET /hello HTTP/1.1``: method, target, version), answers, and
closes the connection. The answer repeats the request, so that you see what the server has understood. Try it:

    python examples/steps/http1/step1_answer.py 8000
    curl http://127.0.0.1:8000/hello
"""

import asyncio
import contextlib
import sys
from asyncio import StreamReader, StreamWriter


def respond(method: str, target: str, content: bytes) -> bytes:
    """Return the bytes of a response, whose content repeats the request."""
    answer = f"{method} {target}\n".encode() + content
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer)


async def serve_client(reader: StreamReader, writer: StreamWriter) -> None:
    """Read a request, answer it, and close the connection."""
    data = await reader.read(65_536)
    head, _, content = data.partition(b"\r\n\r\n")
    method, target, _ = head.decode("latin-1").split("\r\n")[0].split(" ")
    writer.write(respond(method, target, content))
    writer.close()


async def main(port: int) -> None:
    """Listen on 127.0.0.1, print the URL, and serve until Ctrl-C. Port 0 lets the system choose a port."""

    async def connected(reader: StreamReader, writer: StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError):  # at Ctrl-C, Python 3.11 would print a traceback
            await serve_client(reader, writer)

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", flush=True)
    await asyncio.Event().wait()  # never set


if __name__ == "__main__":
    try:
        asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
    except (ValueError, OverflowError, OSError) as error:
        sys.exit(f"no port to listen on: {error}")
    except KeyboardInterrupt:
        pass
