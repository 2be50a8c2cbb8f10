r"""Step 2: find the end of a head. One read is not one request, so the server reads until the empty line.

TCP carries a stream of bytes, and ``read`` returns whatever part of the stream has arrived. The lines up to the empty line are
the *head* of the request. *Content* may follow the head, such as a form or a file:

    POST /echo HTTP/1.1\r\n
    Host: 127.0.0.1:8000\r\n
    \r\n                         the empty line: the head ends with the four bytes \r\n\r\n
    hello                        the content

    python examples/steps/http1/step2_head.py 8000
    curl --data hello http://127.0.0.1:8000/echo
"""

import asyncio
import contextlib
import sys
from asyncio import StreamReader, StreamWriter


def respond(method: str, target: str, content: bytes) -> bytes:
    """Return the bytes of a response, whose content repeats the request."""
    answer = f"{method} {target}\n".encode() + content
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer)


async def read_request(reader: StreamReader) -> bytes:
    """Read until the empty line has arrived, or the client has ended the connection."""
    data = piece = await reader.read(65_536)
    while piece and b"\r\n\r\n" not in piece:  # only in the new bytes: the old ones have been searched
        piece = await reader.read(65_536)
        data += piece
    return data


async def serve_client(reader: StreamReader, writer: StreamWriter) -> None:
    """Read a request, answer it, and close the connection."""
    data = await read_request(reader)
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
