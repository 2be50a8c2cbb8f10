"""Step 7: a slow reader. Each subscriber has a position in the log, and no queue of its own.

``write`` never waits: it keeps what the client does not take. A phone in a tunnel takes nothing, and a busy stream fills the
server's memory. So each subscriber has a task, which sends one event, waits until the client has taken most of it, and looks
for the next event in the log:

    log        | 101  102  103  ...  199  200 |         (event 100 has been dropped)
    subscribers            ^ slow         ^ fast

A subscriber whose next event is not in the log any more gets the gap notice, and goes on after the gap. A client that reads
too slowly and a client that has been away are one case, and one function serves both. The log is the queue of all subscribers,
and its size is its bound.

    python examples/steps/sse/step7_slow.py 8000
    curl -N http://127.0.0.1:8000/events
    curl -d hello http://127.0.0.1:8000/
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

subscribers: set[asyncio.Event] = set()  # set when the log has something new
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
    """Keep an event in the log, and wake all subscribers."""
    number = log[-1][0] + 1 if log else 1
    block = encode(data, kind, f"{RUN}-{number}")
    log.append((number, block))
    for news in subscribers:
        news.set()


def newest() -> int:
    """Return the number of the last event."""
    return log[-1][0] if log else 0


def begin(last_id: str) -> tuple[int, bytes]:
    """Return the position of a client with this id, and the first bytes for the client. The position is the number of its last
    event."""
    found = re.fullmatch(rf"{RUN}-([0-9]{{1,18}})", last_id)
    if found is not None and int(found[1]) <= newest():
        return int(found[1]), b""
    if not last_id:  # a new client. No data, no event: it only remembers the id
        return newest(), f"id: {RUN}-{newest()}\n\n".encode()
    position = log[0][0] - 1 if log else 0
    return position, encode("", "gap", f"{RUN}-{position}")  # the id of another run


def after(position: int) -> tuple[int, bytes]:
    """Return the first event after a position, and its number; a gap notice if the log has dropped that event."""
    lost = log[0][0] - 1 - position
    if lost > 0:
        return position + lost, encode(str(lost), "gap", f"{RUN}-{position + lost}")
    return log[-lost]  # with lost = -3, the subscriber has the log's first three events, and log[3] is the next one


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
    """Begin the response that never ends, and wait until the client leaves. A task sends the events."""
    sender = asyncio.create_task(send_events(writer, last_id))
    try:
        while await reader.read(1_024):  # a client has nothing more to say: b"" means that it has gone
            pass
    finally:
        sender.cancel()


async def send_events(writer: StreamWriter, last_id: str) -> None:
    """Send the events after an id, one by one, each when the client has taken most of those before it; and comments."""
    position, first = begin(last_id)
    writer.write(STREAM_HEAD + f"retry: {RETRY * 1_000:.0f}\n\n".encode() + first)
    news = asyncio.Event()
    subscribers.add(news)
    try:
        while True:
            await writer.drain()
            while position < newest():
                position, block = after(position)
                writer.write(block)
                await writer.drain()
            news.clear()
            try:
                await asyncio.wait_for(news.wait(), HEARTBEAT)
            except TimeoutError:
                writer.write(b": still here\n\n")
    except ConnectionError:
        pass  # the client has gone: ``stream`` sees its end
    finally:
        subscribers.discard(news)


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
