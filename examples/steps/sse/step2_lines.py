r"""Step 2: fields and lines. An event is a few fields, one on each line, and no text can break out of its line.

A name, a colon and a value make a field. A text of two lines becomes two fields, which the client joins again. The type of an
event is another field. Here the target of a POST names the type (``/`` alone: the type is *message*):

    event: price
    data: first line
    data: second line
                                 (an empty line ends the event)

CR, LF and CR LF each end a line. So the server splits a text at each of them: a CR that it left in place would be a line break
to the client.

The server can also be a client now: with the URL of another stream it is a *relay*, which publishes each event again. In real
life a relay runs near its clients, and asks the far server once for all of them.

    python examples/steps/sse/step2_lines.py 8000
    python examples/steps/sse/step2_lines.py 8001 http://127.0.0.1:8000/events
    curl -N http://127.0.0.1:8001/events
    curl -d hello http://127.0.0.1:8000/price
"""

import asyncio
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


def parse_events(text: str) -> list[tuple[str, str]]:
    """Return the data and the type of each event in a text."""
    events = []
    for block in text.split("\n\n"):
        fields = [line.split(": ", 1) for line in block.split("\n") if ": " in line]
        data = [value for name, value in fields if name == "data"]
        kinds = [value for name, value in fields if name == "event"]
        if data:
            events.append(("\n".join(data), kinds[-1] if kinds else "message"))
    return events


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
        while piece := await reader.read(65_536):
            for event in parse_events(piece.decode("utf-8", "replace")):
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
