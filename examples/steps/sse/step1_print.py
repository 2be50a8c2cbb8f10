"""Step 1: print events into a response that never ends. A server of Server-Sent Events, which works with curl and a browser.

A client asks for /events. The server answers with a head that announces no length, and the connection stays open. From then
on the server writes two lines for each event, and the client reads them at once:

    data: hello
                                 (an empty line ends the event)

A POST publishes its content as an event, and everything else gets a page whose script shows the events. Try it with three
terminals, and open http://127.0.0.1:8000/ in a browser:

    python examples/steps/sse/step1_print.py 8000
    curl -N http://127.0.0.1:8000/events               # the second terminal; -N: show each byte when it arrives
    curl -d hello http://127.0.0.1:8000/               # the third terminal

The reading of a request is short here, and accepts too much: it is the subject of the ladder of HTTP/1.1.
"""

import asyncio
import contextlib
import sys
from asyncio import StreamReader, StreamWriter

PAGE = """<!doctype html><meta charset="utf-8"><title>events</title><pre></pre><script>
const source = new EventSource("/events")
source.onmessage = event => document.querySelector("pre").append(event.data + "\\n")
</script>"""
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"

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


def publish(text: str) -> None:
    """Send an event to all subscribers."""
    for writer in subscribers:
        writer.write(f"data: {text}\n\n".encode())


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
            publish(content.decode("utf-8", "replace"))
            writer.write(response("text/plain", "published\n"))
        elif target == "/events":
            await stream(reader, writer)
        else:
            writer.write(response("text/html", PAGE))
    except (ConnectionError, EOFError, ValueError, asyncio.LimitOverrunError):
        pass  # the client has gone, or what it has sent is not a request
    finally:
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
