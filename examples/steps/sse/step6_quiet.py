"""Step 6: quiet connections. A comment shows that the stream is alive, and a client that fails waits longer each time.

A proxy closes a connection on which nothing happens, often after 60 seconds. So the server writes a comment every 15 seconds,
a line that begins with a colon. Clients ignore it:

    : still here

The relay uses the comments, too. If it hears nothing for 45 seconds, not even a comment, the server has gone, and it connects
again. Without this rule it would wait for ever: a machine that has lost power says nothing.

The server names the time until a client should come back, in milliseconds: ``retry: 3000``. The relay doubles this time after
each attempt that fails, up to a minute, and waits for a random part of it. So the clients of a server that starts again do not
all connect at the same moment.

    python examples/steps/sse/step6_quiet.py 8000
    curl -N http://127.0.0.1:8000/events               # and wait 15 seconds
"""

import asyncio
import codecs
import contextlib
import random
import re
import secrets
import sys
from asyncio import StreamReader, StreamWriter
from collections import deque
from urllib.parse import SplitResult, urlsplit

PAGE = """<!doctype html><meta charset="utf-8"><title>events</title><pre></pre><script>
const source = new EventSource("/events")
source.onmessage = event => document.querySelector("pre").append(event.data + "\\n")
source.addEventListener("gap", event => document.querySelector("pre").append(`(lost: ${event.data || "unknown"})\\n`))
</script>"""
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
LINE_BREAK = re.compile(r"\r\n|\r|\n")  # not str.splitlines, which splits at U+2028, too
RETRY, LONGEST_RETRY = 3.0, 60.0  # seconds until a client comes back: at first, and at most
HEARTBEAT, SILENCE = 15.0, 45.0  # seconds: between two comments, and until a relay gives a stream up
LOG_SIZE = 100  # events
RUN = secrets.token_hex(4)  # another one after each start

subscribers: set[StreamWriter] = set()
log: deque[tuple[int, bytes]] = deque(maxlen=LOG_SIZE)  # the last events, each with its number


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


def encode(data: str, kind: str, last_id: str) -> bytes:
    """Return the bytes of an event. Each line of the data is a field of its own."""
    fields = [f"id: {last_id}"]
    fields += [] if kind == "message" else [f"event: {kind}"]
    fields += [f"data: {line}" for line in LINE_BREAK.split(data)]
    return "\n".join([*fields, "", ""]).encode()


class EventReader:
    """Makes events of the bytes of a stream, however the bytes are cut."""

    def __init__(self, last_id: str = "", retry: float = RETRY) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("replace").decode  # keeps the first bytes of a character
        self._line = ""  # the beginning of a line
        self._after_cr = False  # an LF that comes next belongs to this CR
        self._data: list[str] = []
        self._kind = ""
        self._id = last_id
        self.last_id = last_id  # of the last complete event
        self.retry = retry  # seconds
        self.answered = False  # the server has begun its answer

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
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and re.fullmatch("[0-9]{1,9}", value):
            self.retry = max(1.0, int(value) / 1_000)
        if line:
            return None  # any other name is ignored, and so is a comment, which begins with a colon
        data, kind, self.last_id = self._data, self._kind, self._id
        self._data, self._kind = [], ""
        return ("\n".join(data), kind or "message") if data else None


def publish(data: str, kind: str) -> None:
    """Keep an event in the log, and send it to all subscribers."""
    number = log[-1][0] + 1 if log else 1
    block = encode(data, kind, f"{RUN}-{number}")
    log.append((number, block))
    for writer in subscribers:
        writer.write(block)


def replay(last_id: str) -> bytes:
    """Return the events after the one with this id, and before them a gap notice if some are lost. A new client has no id."""
    newest = log[-1][0] if log else 0
    if not last_id:
        return f"id: {RUN}-{newest}\n\n".encode()  # no data, no event: the client only remembers the id
    oldest = log[0][0] if log else 1
    found = re.fullmatch(rf"{RUN}-([0-9]{{1,18}})", last_id)
    if found is None or int(found[1]) > newest:  # the id of another run
        seen, notice = 0, encode("", "gap", f"{RUN}-{oldest - 1}")
    else:
        seen = int(found[1])
        lost = oldest - 1 - seen
        notice = encode(str(lost), "gap", f"{RUN}-{oldest - 1}") if lost > 0 else b""
    return notice + b"".join(block for number, block in log if number > seen)


async def follow(url: str) -> None:
    """Be a relay: publish the events of another server, and ask again when its stream ends."""
    events, failures = EventReader(), 0
    while True:
        events = EventReader(events.last_id, events.retry)  # an event that was cut short is forgotten
        with contextlib.suppress(OSError, EOFError, asyncio.LimitOverrunError):  # it is down, has gone, or its head has no end
            await read_stream(urlsplit(url), events)
        failures = 0 if events.answered else failures + 1
        longest = min(LONGEST_RETRY, events.retry * 2 ** min(failures, 9))  # 2**1024 is not a float
        await asyncio.sleep(random.uniform(events.retry, max(events.retry, longest)))


async def read_stream(url: SplitResult, events: EventReader) -> None:
    """Ask for a stream, and publish its events until it ends. Raises OSError or EOFError if it does not begin, or breaks."""
    reader, writer = await asyncio.wait_for(asyncio.open_connection(url.hostname, url.port or 80), SILENCE)
    try:
        head = f"GET {url.path} HTTP/1.0\r\nHost: {url.netloc}\r\n"  # 1.0: an answer without chunks
        head += f"Last-Event-ID: {events.last_id}\r\n" if events.last_id else ""
        writer.write(f"{head}\r\n".encode())
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SILENCE)  # TimeoutError is an OSError
        events.answered = True
        while piece := await asyncio.wait_for(reader.read(65_536), SILENCE):
            for event in events.receive(piece):
                publish(*event)
    finally:
        writer.close()


async def stream(reader: StreamReader, writer: StreamWriter, last_id: str) -> None:
    """Begin the response that never ends with what the client has missed, and wait until the client leaves."""
    writer.write(STREAM_HEAD + f"retry: {RETRY * 1_000:.0f}\n\n".encode() + replay(last_id))
    subscribers.add(writer)
    heartbeat = asyncio.create_task(send_comments(writer))
    try:
        while await reader.read(1_024):  # a client has nothing more to say: b"" means that it has gone
            pass
    finally:
        heartbeat.cancel()
        subscribers.discard(writer)


async def send_comments(writer: StreamWriter) -> None:
    """Say from time to time that the stream is alive."""
    while True:
        await asyncio.sleep(HEARTBEAT)
        writer.write(b": still here\n\n")


async def serve_client(reader: StreamReader, writer: StreamWriter) -> None:
    """Serve one request, and close the connection."""
    try:
        method, target, fields, content = await read_request(reader)
        if method == "POST":
            publish(content.decode("utf-8", "replace"), target[1:] or "message")
            writer.write(response("text/plain", "published\n"))
        elif target == "/events":
            await stream(reader, writer, fields.get("last-event-id", ""))
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
