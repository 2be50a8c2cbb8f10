r"""Step 3: cut anywhere. The server parses all bytes so far, so the places where the network cuts them have no effect.

``parse_request`` is a function of bytes. It knows nothing of the network, and it gives one of two results: a request, or None
if the bytes do not hold a whole request yet. It is called again with more bytes:

    POST / HTTP/1.1\r\nContent-Length: 5\r\n\r       None: the head is not complete
    POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhe   None: two of five bytes of content
    POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello

The content is cut as well, so the server has to know its length. A field gives this length: ``Content-Length: 5``.

    python examples/steps/http1/step3_cuts.py 8000
    curl --data hello http://127.0.0.1:8000/echo
"""

import asyncio
import contextlib
import sys
from asyncio import StreamReader, StreamWriter
from typing import NamedTuple


class Request(NamedTuple):
    """The parts of a request. The names of the fields are in lower case."""

    method: str
    target: str
    version: str
    fields: dict[str, str]
    content: bytes = b""


def parse_request(data: bytes) -> tuple[Request, int] | None:
    """Return the request at the beginning of the bytes, and the number of its bytes; None if the request is not complete."""
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return None
    request = parse_head(head.decode("latin-1"))
    length = int(request.fields.get("content-length", "0"))
    if len(rest) < length:
        return None
    return request._replace(content=rest[:length]), len(head + end) + length


def parse_head(head: str) -> Request:
    """Return the request with this head. Its content is still empty."""
    request_line, *lines = head.split("\r\n")
    method, target, version = request_line.split(" ")
    fields = {}
    for line in lines:
        name, _, value = line.partition(":")
        fields[name.strip().lower()] = value.strip()
    return Request(method, target, version, fields)


def respond(request: Request) -> bytes:
    """Return the bytes of a response, whose content repeats the request."""
    answer = f"{request.method} {request.target}\n".encode() + request.content
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer)


async def read_request(reader: StreamReader) -> Request | None:
    """Read until a whole request has arrived. Return None if the client ends the connection earlier."""
    data = b""
    while (found := parse_request(data)) is None:
        piece = await reader.read(65_536)
        if not piece:
            return None
        data += piece
    return found[0]


async def serve_client(reader: StreamReader, writer: StreamWriter) -> None:
    """Read a request, answer it, and close the connection."""
    request = await read_request(reader)
    if request is not None:
        writer.write(respond(request))
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
