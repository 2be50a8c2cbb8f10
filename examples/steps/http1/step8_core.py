r"""Step 8: the contract of a core. Bytes in, events out: a parser that remembers where it is, with no socket and no clock.

``Connection`` keeps the contract of all cores of minproto (``src/minproto/core.py``). ``receive_data`` stores bytes, and
``next_event`` returns one event, or None if the next event is not complete:

    receive_data(b"... Content-Length: 5\r\n\r\nhe")      next_event() -> Request, then Data(b"he"), then None
    receive_data(b"llo")                                 next_event() -> Data(b"llo"), then EndOfMessage, then None

The bytes of an event leave the buffer, so no byte is parsed twice. Content is delivered as it arrives, so it may be larger
than the memory. A test needs no network: the laws of minproto cut, damage and end the bytes of this parser everywhere.

The real core has more. Where no other file is named, look into ``src/minproto/http1.py``:

    It refuses a wrong byte when the byte arrives, not when the line is complete.      HeadReader
    It checks the method, the target and Host.                                         Connection._check_request
    Its ``send`` makes the bytes of responses, too, in pieces and in chunks.           Connection.send
    It knows 100, 101, 204 and 304, and it says farewell after a fault.                the drawing above class State
    It is a client as well.                                                            response_framing
    It checks every byte of a chunk's line, and passes trailers on.                    http1_body.py

The real shell has more than ``read_request``, ``converse`` and ``drain``:

    It reads on for a moment after an error response: a reset would destroy it.        ServerConnection in aio/http1_server.py
    It answers while content arrives, and it measures how slow a client is.            aio/http1_content.py, aio/patience.py
    It limits the number of connections, and speaks TLS.                               aio/listener.py

    python examples/steps/http1/step8_core.py 8000
    curl --data hello http://127.0.0.1:8000/echo
"""

import asyncio
import re
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator
from typing import NamedTuple

from minproto.core import Core, Event, RemoteProtocolError, Wants
from minproto.http import Data, EndOfMessage

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


class BadRequest(RemoteProtocolError):
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


class Connection(Core):
    """The receiving half of a server's connection: bytes in, events out."""

    def __init__(self) -> None:
        super().__init__(MAX_HEAD)
        self.steps = self._read_requests()

    def _parse(self) -> Event | None:
        """Return the next event, or None if more bytes are needed. ``next_event`` of the base class calls this method."""
        return next(self.steps)

    def _parse_eof(self) -> None:
        """Accept the end of the input between two requests. Raises BadRequest in the middle of one."""
        if self.in_request or self.buffered:
            raise BadRequest("the request is cut short")
        self.wants = Wants.CLOSED

    def _read_requests(self) -> Iterator[Event | None]:
        """Yield the events of one request after the other. A generator stops at each yield, and goes on from there."""
        while True:
            self.in_request = False
            request = parse_head((yield from self._until(b"\r\n\r\n")))
            length = content_length(request)
            self.in_request = True
            yield request
            yield from self._read_chunks() if length is None else self._read_content(length)
            yield EndOfMessage()

    def _read_chunks(self) -> Iterator[Event | None]:
        """Yield the content of each chunk, which is between a line with its size and a CRLF. Then skip the trailers."""
        room = MAX_CONTENT  # the lines count, too: a client could send a long extension with each byte of content
        while size := chunk_size(line := (yield from self._until(b"\r\n"))):
            if (room := room - len(line) - size) < 0:
                raise BadRequest("content too large", 413)
            yield from self._read_content(size)
            if (yield from self._until(b"\r\n")):
                raise BadRequest("the size of a chunk is wrong")
        while line := (yield from self._until(b"\r\n")):  # a trailer; the empty line is the end
            if (room := room - len(line)) < 0:
                raise BadRequest("trailers too large", 431)

    def _read_content(self, left: int) -> Iterator[Event | None]:
        """Yield the next ``left`` bytes as they arrive, so that none of them waits here."""
        while left:
            data = self._buffer.take(left)
            left -= len(data)
            yield Data(data) if data else None

    def _until(self, needle: bytes) -> Iterator[None]:
        """Take the bytes before the needle, and the needle. The buffer remembers how far it has searched."""
        while (text := self._buffer.text_until(needle, MAX_HEAD)) is None:
            if self.buffered >= MAX_HEAD:
                raise BadRequest("head too large", 431)
            yield None
        self._buffer.skip(len(text) + len(needle))
        return text


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


async def read_request(reader: StreamReader, writer: StreamWriter, core: Connection) -> Request | None:
    """Return a request with all of its content; None if the client ends the connection, or sends nothing for too long."""
    events: list[Event] = []
    if not core.buffered:
        idle.add(writer)
    try:
        async with asyncio.timeout(REQUEST_TIME if core.buffered else IDLE_TIME) as timer:
            while not isinstance(event := core.next_event(), EndOfMessage):
                if event is not None:
                    events.append(event)
                    continue
                if core.wants is Wants.CLOSED:
                    return None
                piece = await reader.read(65_536)
                if writer in idle:  # a request begins
                    idle.discard(writer)
                    timer.reschedule(asyncio.get_running_loop().time() + REQUEST_TIME)
                core.receive_data(piece) if piece else core.receive_eof()
    except TimeoutError:
        if writer in idle:
            return None
        raise BadRequest("the request takes too long", 408) from None
    return events[0]._replace(content=b"".join(event.data for event in events[1:]))


async def send(writer: StreamWriter, data: bytes) -> None:
    """Write bytes, and wait until the client has read most of them. Raises TimeoutError if the client does not read."""
    writer.write(data)
    async with asyncio.timeout(WRITE_TIME):
        await writer.drain()


async def converse(reader: StreamReader, writer: StreamWriter) -> None:
    """Answer requests, one after the other, until one side wants to close the connection."""
    core = Connection()
    keep_alive = not stopping.is_set()
    try:
        while keep_alive and (request := await read_request(reader, writer, core)) is not None:
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
