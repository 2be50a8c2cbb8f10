r"""Step 8: the contract of a core. Bytes in, events out: a parser with a limit, which searches each byte once.

The step reads and writes its events with minproto's core. ``receive_data`` stores bytes, and ``next_event`` returns one event,
or None if the next event is not complete. ``events`` calls it until None comes:

    receive_data(b"id: 7\ndata: caf\xc3")    next_event() -> None
    receive_data(b"\xa9\r\n\r")             next_event() -> ServerSentEvent("café", "message", "7"), then None
    receive_data(b"\n")                     next_event() -> None: this LF belongs to the CR before it

An event that is too large is an error, and so is an event that would forge a field: ``ServerSentEvent`` refuses a type with a
line break in it.

The real shell (``src/minproto/aio/sse.py``) has more than ``send_events`` and ``follow``:

    Its log counts bytes, too, and each topic has a log of its own.                    _Log in broker.py
    Some messages become one piece, so that many need few writes.                      BATCH
    It looks at a connection a second after a comment: has the client gone?            EventStream._content
    An iterator of the app can be the source of the events.                            _IteratorSource
    When the server stops, each stream ends with a ``retry``.                          EventStream.drain
    Its client wants the status 200 and the right type, and 204 ends the loop.      EventSource._open
    It speaks TLS, reads chunks, and obeys Retry-After.                                aio/http_client.py, aio/reconnect.py

    python examples/steps/sse/step8_core.py 8000
    python examples/steps/sse/step8_core.py 8001 http://127.0.0.1:8000/events
    curl -N http://127.0.0.1:8001/events
"""

import asyncio
import contextlib
import random
import re
import secrets
import sys
from asyncio import StreamReader, StreamWriter
from collections import deque
from collections.abc import AsyncIterator
from urllib.parse import SplitResult, urlsplit

from minproto.core import CLIENT, Event, RemoteProtocolError
from minproto.sse import Comment, Connection, LastEventId, Limits, Retry, ServerSentEvent, encode

PAGE = """<!doctype html><meta charset="utf-8"><title>events</title><pre></pre><script>
const source = new EventSource("/events")
source.onmessage = event => document.querySelector("pre").append(event.data + "\\n")
source.addEventListener("gap", event => document.querySelector("pre").append(`(lost: ${event.data || "unknown"})\\n`))
</script>"""
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
RETRY, LONGEST_RETRY = 3.0, 60.0  # seconds until a client comes back: at first, and at most
HEARTBEAT, SILENCE = 15.0, 45.0  # seconds: between two comments, and until a relay gives a stream up
LOG_SIZE = 100  # events
LIMITS = Limits(max_event=1_000_000)
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


def publish(data: str, kind: str) -> None:
    """Keep an event in the log, and wake all subscribers."""
    number = log[-1][0] + 1 if log else 1
    block = encode(ServerSentEvent(data, kind, f"{RUN}-{number}"))
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
        return newest(), encode(LastEventId(f"{RUN}-{newest()}"))
    position = log[0][0] - 1 if log else 0
    return position, encode(ServerSentEvent("", "gap", f"{RUN}-{position}"))  # the id of another run


def after(position: int) -> tuple[int, bytes]:
    """Return the first event after a position, and its number; a gap notice if the log has dropped that event."""
    lost = log[0][0] - 1 - position
    if lost > 0:
        return position + lost, encode(ServerSentEvent(str(lost), "gap", f"{RUN}-{position + lost}"))
    return log[-lost]  # with lost = -3, the subscriber has the log's first three events, and log[3] is the next one


async def follow(url: str) -> None:
    """Be a relay: publish the events of another server, and ask again when its stream ends."""
    last_id, retry, failures = "", RETRY, 0
    while True:
        core = Connection(CLIENT, LIMITS, last_id)  # an event that was cut short is forgotten
        failures += 1
        try:
            async for event in read_stream(urlsplit(url), core):
                failures = 0
                if isinstance(event, Retry):
                    retry = max(1.0, event.milliseconds / 1_000)
                elif isinstance(event, ServerSentEvent):
                    publish(event.data, event.event)
        except (OSError, EOFError, asyncio.LimitOverrunError):  # it is down, has gone, or its head has no end
            pass
        except RemoteProtocolError:  # an event beyond the limit
            publish("", "gap")
            core = Connection(CLIENT)  # without an id: with the old one, the same event would come again
        last_id = core.last_event_id
        longest = min(LONGEST_RETRY, retry * 2 ** min(failures, 9))  # 2**1024 is not a float
        await asyncio.sleep(random.uniform(retry, max(retry, longest)))


async def read_stream(url: SplitResult, core: Connection) -> AsyncIterator[Event]:
    """Ask for a stream, and yield its events until it ends. Raises OSError or EOFError if it does not begin, or breaks."""
    reader, writer = await asyncio.wait_for(asyncio.open_connection(url.hostname, url.port or 80), SILENCE)
    try:
        head = f"GET {url.path} HTTP/1.0\r\nHost: {url.netloc}\r\n"  # 1.0: an answer without chunks
        head += f"Last-Event-ID: {core.last_event_id}\r\n" if core.last_event_id else ""
        writer.write(f"{head}\r\n".encode())
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SILENCE)  # TimeoutError is an OSError
        while piece := await asyncio.wait_for(reader.read(65_536), SILENCE):
            core.receive_data(piece)
            for event in core.events():
                yield event
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
    writer.write(STREAM_HEAD + encode(Retry(int(RETRY * 1_000))) + first)
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
                writer.write(encode(Comment("still here")))
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
