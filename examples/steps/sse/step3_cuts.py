r"""Step 3: cut anywhere. A reader of events that remembers what is not complete.

The network cuts a stream where it likes, and an event stream has three difficult places:

    b"data: caf\xc3" + b"\xa9\n\n"        within a character: UTF-8 writes an é in two bytes
    b"data: a\r" + b"\n\r\n"            within a line break: CR LF is one break, not two
    b"data: a\ndata:" + b" b\n\n"       within an event

So the reader keeps three things: the first bytes of a character, the beginning of a line, and the fields of an event. After a
CR it also remembers that an LF which comes next belongs to this CR. It does not wait for the LF: the LF need not come at all.

    python examples/steps/sse/step3_cuts.py 8000
    python examples/steps/sse/step3_cuts.py 8001 http://127.0.0.1:8000/events
    curl -N http://127.0.0.1:8001/events
    curl -d café http://127.0.0.1:8000/
"""

import asyncio
import codecs
import contextlib
import re
import sys
from asyncio import StreamReader, StreamWriter
from urllib.parse import SplitResult, urlsplit

PAGE = """<!doctype html><meta charset="utf-8"><title>events</title><pre></pre><script>
const source = new EventSource("/events")
source.onmessage = event => document.querySelector("pre").append(event.data + "\\n")
</script>"""
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
LINE_BREAK = re.compile(r"\r\n|\r|\n")  # not str.splitlines, which splits at U+2028, too
RETRY = 3.0  # seconds until a relay asks again

subscribers: set[StreamWriter] = set()


async def read_request(reader: StreamReader) -> tuple[str, str, dict[str, str], bytes]:
    """Return the method, the target, the fields and the content of a request. Raises an error if it is not a request."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    start, *lines = head[:-4].split("\r\n")
    method, target, _ = start.split(" ")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return method, target, fields, await reader.readexactly(int(fields.get("content-length", 0)))


def response(kind: str, text: str) -> bytes:
    """Return the bytes of a response that has an end."""
    content = text.encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    return head.encode() + content


def encode(data: str, kind: str = "message") -> bytes:
    """Return the bytes of an event. Each line of the data is a field of its own."""
    fields = [] if kind == "message" else [f"event: {kind}"]
    fields += [f"data: {line}" for line in LINE_BREAK.split(data)]
    return "\n".join([*fields, "", ""]).encode()


class EventReader:
    """Makes events of the bytes of a stream, however the bytes are cut."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("replace").decode  # keeps the first bytes of a character
        self._line = ""  # the beginning of a line
        self._after_cr = False  # an LF that comes next belongs to this CR
        self._data: list[str] = []
        self._kind = ""

    def receive(self, piece: bytes) -> list[tuple[str, str]]:
        """Return the data and the type of each event that the piece completes."""
        text = self._decode(piece)
        if text and self._after_cr:
            text, self._after_cr = text.removeprefix("\n"), False
        if text:
            self._after_cr = text[-1] == "\r"
        *lines, self._line = LINE_BREAK.split(self._line + text)
        return [event for line in lines if (event := self._take_line(line))]

    def _take_line(self, line: str) -> tuple[str, str] | None:
        """Store a field. Return an event if the line is empty, and data has arrived before it."""
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")  # one space belongs to the format, others to the value
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._kind = value
        if line:
            return None  # any other name is ignored, and so is a comment, which begins with a colon
        data, kind = self._data, self._kind
        self._data, self._kind = [], ""
        return ("\n".join(data), kind or "message") if data else None


def publish(data: str, kind: str) -> None:
    """Send an event to all subscribers."""
    for writer in subscribers:
        writer.write(encode(data, kind))


async def follow(url: str) -> None:
    """Be a relay: publish the events of another server, and ask again when its stream ends."""
    while True:
        with contextlib.suppress(OSError, EOFError, asyncio.LimitOverrunError):  # it is down, has gone, or its head has no end
            await read_stream(urlsplit(url))
        await asyncio.sleep(RETRY)


async def read_stream(url: SplitResult) -> None:
    """Ask for a stream, and publish its events until it ends. Raises OSError or EOFError if it does not begin, or breaks."""
    reader, writer = await asyncio.open_connection(url.hostname, url.port or 80)
    try:
        writer.write(f"GET {url.path} HTTP/1.0\r\nHost: {url.netloc}\r\n\r\n".encode())  # 1.0: an answer without chunks
        await reader.readuntil(b"\r\n\r\n")
        events = EventReader()
        while piece := await reader.read(65_536):
            for event in events.receive(piece):
                publish(*event)
    finally:
        writer.close()


async def stream(reader: StreamReader, writer: StreamWriter) -> None:
    """Begin the response that never ends, and wait until the client leaves."""
    writer.write(STREAM_HEAD)
    subscribers.add(writer)
    try:
        while await reader.read(1_024):  # a client has nothing more to say: b"" means that it has gone
            pass
    finally:
        subscribers.discard(writer)


async def serve_client(reader: StreamReader, writer: StreamWriter) -> None:
    """Serve one request, and close the connection."""
    try:
        method, target, _, content = await read_request(reader)
        if method == "POST":
            publish(content.decode("utf-8", "replace"), target[1:] or "message")
            writer.write(response("text/plain", "published\n"))
        elif target == "/events":
            await stream(reader, writer)
        else:
            writer.write(response("text/html", PAGE))
    except (ConnectionError, EOFError, ValueError, asyncio.LimitOverrunError):
        pass  # the client has gone, or what it has sent is not a request
    finally:
        writer.close()


async def main(port: int, source: str = "") -> None:
    """Listen on 127.0.0.1, print the URL, and serve until Ctrl-C. With a source, be a relay. Port 0: the system chooses."""

    async def connected(reader: StreamReader, writer: StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError):  # at Ctrl-C, Python 3.11 would print a traceback
            await serve_client(reader, writer)

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", flush=True)
    await (follow(source) if source else asyncio.Event().wait())  # never set


if __name__ == "__main__":
    try:
        asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0, *sys.argv[2:3]))
    except (ValueError, OverflowError, OSError) as error:
        sys.exit(f"no port, or no stream: {error}")
    except KeyboardInterrupt:
        pass
