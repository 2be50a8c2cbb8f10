r"""Step 7: back-pressure and drain. A client that does not read makes the server wait, and a stop loses no answer.

``writer.write`` never waits: bytes that the client does not read pile up in the server's memory. So the server waits after
each response until most of its bytes have gone (``writer.drain``), and reads no request meanwhile. This is *back-pressure*: a
slow client slows down its own requests, and nobody else's.

A server that is stopped has connections of two kinds. Where it waits for a request, it closes the connection. Where a request
has begun, it finishes the request, and says ``Connection: close`` in the response. This is called a *drain*.

    python examples/steps/http1/step7_drain.py 8000
    curl http://127.0.0.1:8000/hello
"""

import asyncio
import re
import sys
from asyncio import StreamReader, StreamWriter
from typing import NamedTuple

MAX_HEAD, MAX_CONTENT = 65_536, 1_000_000  # bytes
IDLE_TIME, REQUEST_TIME, WRITE_TIME, DRAIN_TIME = 60.0, 30.0, 30.0, 10.0  # seconds

clients: set[asyncio.Task | None] = set()  # one task for each connection
idle: set[StreamWriter] = set()  # the connections on which no request has begun
stopping = asyncio.Event()

REASONS = {200: "OK", 400: "Bad Request", 408: "Request Timeout", 413: "Content Too Large"}
REASONS[431] = "Request Header Fields Too Large"
REQUEST_LINE = re.compile(r"([!-~]+) ([!-~]+) (HTTP/1\.[01])")
FIELD_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t\x20-\x7e\x80-\xff]*)")  # no space before the colon
CHUNK_LINE = re.compile(r"([0-9A-Fa-f]{1,16})(?:;[\t\x20-\x7e\x80-\xff]*)?")  # extensions after ";" are ignored


class BadRequest(Exception):
    """The client broke a rule. ``code`` is the status of the answer."""

    def __init__(self, reason: str, code: int = 400) -> None:
        super().__init__(reason)
        self.code = code


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
    if len(head) > MAX_HEAD:
        raise BadRequest("head too large", 431)
    if not end:
        return None
    request = parse_head(head.decode("latin-1"))
    length = content_length(request)
    found = parse_chunks(rest) if length is None else (rest[:length], length)
    if found is None or len(rest) < found[1]:
        if len(rest) > MAX_CONTENT:  # a line with a chunk's size has no end, or the trailers have none
            raise BadRequest("content too large", 413)
        return None
    return request._replace(content=found[0]), len(head + end) + found[1]


def parse_chunks(data: bytes) -> tuple[bytes, int] | None:
    """Return the content of the chunks, and the number of all their bytes; None if they are not complete."""
    content, at = b"", 0
    while (end := data.find(b"\r\n", at)) >= 0:
        size = chunk_size(data[at:end].decode("latin-1"))
        if size == 0:  # the last chunk. Fields may follow it, and then comes an empty line.
            end = data.find(b"\r\n\r\n", end)
            return None if end < 0 else (content, end + 4)
        at = end + 2 + size + 2
        if at > MAX_CONTENT:
            raise BadRequest("content too large", 413)
        content += data[end + 2 : at - 2]
        if not b"\r\n".startswith(data[at - 2 : at]):
            raise BadRequest("the size of a chunk is wrong")
    return None


def parse_head(head: str) -> Request:
    """Return the request with this head. Its content is still empty."""
    request_line, *lines = head.split("\r\n")
    method, target, version = matched(REQUEST_LINE, request_line).groups()
    fields: dict[str, str] = {}
    for line in lines:
        name, value = matched(FIELD_LINE, line).groups()
        name, value = name.lower(), value.strip(" \t")
        fields[name] = f"{fields[name]}, {value}" if name in fields else value  # two lengths become "5, 6": not a number
    return Request(method, target, version, fields)


def content_length(request: Request) -> int | None:
    """Return the number of bytes of content; None if the content comes in chunks."""
    length, coding = request.fields.get("content-length", "0"), request.fields.get("transfer-encoding")
    if coding is None and re.fullmatch("[0-9]{1,18}", length):  # int() would accept "+5" and "5_0", too
        if int(length) > MAX_CONTENT:  # refused before its content arrives
            raise BadRequest("content too large", 413)
        return int(length)
    if coding is None or coding.lower() != "chunked" or "content-length" in request.fields or request.version != "HTTP/1.1":
        raise BadRequest("doubtful framing")
    return None


def chunk_size(line: str) -> int:
    """Return the number of bytes that the line before a chunk announces."""
    return int(matched(CHUNK_LINE, line)[1], 16)


def matched(pattern: re.Pattern[str], line: str) -> re.Match[str]:
    """Return the match of a whole line. Raises BadRequest if the line has another form."""
    found = pattern.fullmatch(line)
    if found is None:
        raise BadRequest("malformed line")
    return found


def keeps_alive(request: Request) -> bool:
    """Return whether the client wants to go on after this request: by default in HTTP/1.1, on request in HTTP/1.0."""
    options = request.fields.get("connection", "").lower().replace(" ", "").split(",")
    return "close" not in options and (request.version == "HTTP/1.1" or "keep-alive" in options)


def answer(request: Request) -> bytes:
    """Return the content of the response, which repeats the request."""
    return f"{request.method} {request.target}\n".encode() + request.content


def response(code: int, content: bytes, keep_alive: bool = False, method: str = "GET") -> bytes:
    """Return the bytes of a response, which says whether the connection stays open."""
    head = f"HTTP/1.1 {code} {REASONS[code]}\r\nContent-Length: {len(content)}\r\n"
    head += f"Connection: {'keep-alive' if keep_alive else 'close'}\r\n\r\n"
    return head.encode() + (b"" if method == "HEAD" else content)  # after HEAD, content would pass for the next response


async def read_request(reader: StreamReader, writer: StreamWriter, data: bytes) -> tuple[Request, bytes] | None:
    """Return a request, and the bytes after it. ``data`` are bytes that have been read with the request before.

    Return None if the client ends the connection before a request is complete, or sends nothing for too long.
    """
    if not data:
        idle.add(writer)
    try:
        async with asyncio.timeout(REQUEST_TIME if data else IDLE_TIME) as timer:
            while (found := parse_request(data)) is None:
                piece = await reader.read(65_536)
                if not piece:
                    return None
                if writer in idle:  # a request begins
                    idle.discard(writer)
                    timer.reschedule(asyncio.get_running_loop().time() + REQUEST_TIME)
                data += piece
    except TimeoutError:
        if writer in idle:
            return None
        raise BadRequest("the request takes too long", 408) from None
    request, size = found
    return request, data[size:]


async def send(writer: StreamWriter, data: bytes) -> None:
    """Write bytes, and wait until the client has read most of them. Raises TimeoutError if the client does not read."""
    writer.write(data)
    async with asyncio.timeout(WRITE_TIME):
        await writer.drain()


async def converse(reader: StreamReader, writer: StreamWriter) -> None:
    """Answer requests, one after the other, until one side wants to close the connection."""
    data = b""
    keep_alive = not stopping.is_set()
    try:
        while keep_alive and (found := await read_request(reader, writer, data)) is not None:
            request, data = found
            keep_alive = keeps_alive(request) and not stopping.is_set()
            await send(writer, response(200, answer(request), keep_alive, request.method))
    except BadRequest as error:  # it is unknown where the next request begins
        await send(writer, response(error.code, f"{error}\n".encode()))


async def serve_client(reader: StreamReader, writer: StreamWriter) -> None:
    """Serve a client, and close the connection in the end, whatever happens."""
    clients.add(asyncio.current_task())
    try:
        await converse(reader, writer)
    except (ConnectionError, TimeoutError):  # the client has gone, or it does not read
        writer.transport.abort()
    finally:
        writer.close()
        clients.discard(asyncio.current_task())
        idle.discard(writer)


async def drain() -> None:
    """Close the connections without a request, and wait for all others to finish theirs, at most DRAIN_TIME seconds."""
    stopping.set()
    for writer in idle:
        writer.close()
    if clients:
        await asyncio.wait(clients, timeout=DRAIN_TIME)


async def main(port: int) -> None:
    """Listen on 127.0.0.1, print the URL, and serve until Ctrl-C; then drain. Port 0 lets the system choose a port."""
    server = await asyncio.start_server(serve_client, "127.0.0.1", port)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", flush=True)
    try:
        await asyncio.Event().wait()  # never set
    finally:  # asyncio turns Ctrl-C into a CancelledError
        server.close()
        await drain()


if __name__ == "__main__":
    try:
        asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
    except (ValueError, OverflowError, OSError) as error:
        sys.exit(f"no port to listen on: {error}")
    except KeyboardInterrupt:
        pass
