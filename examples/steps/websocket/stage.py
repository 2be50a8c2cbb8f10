r"""The stage of the attackers: the network in memory of HTTP/1.1's steps, and what a client of a WebSocket sends and sees.

``../http1/network.py`` runs each step unchanged. The attacker decides how the bytes are cut and whether the client reads, and
the clock jumps from timer to timer, so an hour passes at once. This file adds the handshake and the frames:

    async def attack(server):
        client = await connect(server)
        await client.send(frame(TEXT, b"hello"))
        return shown(client)

    print(run("step1_handshake", attack))                                  # prints: text 'hello'
"""

import importlib.util
from pathlib import Path

from minproto.core import CLIENT, Event, RemoteProtocolError
from minproto.websocket import Close, Connection, Limits, Message, encode_frame

_spec = importlib.util.spec_from_file_location("network_of_http1", Path(__file__).parents[1] / "http1" / "network.py")
_network = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_network)
Client, Server, run = _network.Client, _network.Server, _network.run

KEY = bytes.fromhex("37fa213d")  # a client takes a new random key for each frame; an attack has to print the same each time
TEXT, PING, CLOSE = 0x81, 0x89, 0x88  # the first bytes of a frame: FIN and the opcode
MORE, CONTINUED, LAST = 0x01, 0x00, 0x80  # of the first, a middle and the last fragment of a text
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%b\r\n"
)


def frame(first: int, data: bytes = b"", key: bytes = KEY) -> bytes:
    """Return a client's frame."""
    return encode_frame(first, data, key)


async def connect(server: Server, fields: bytes = b"") -> Client:
    """Open a WebSocket. ``fields``: more lines for the handshake."""
    client = server.connect()
    await client.send(HANDSHAKE % fields)
    return client


def shown(client: Client) -> str:
    """Return what a client sees: the status of a refusal, or the frames, and how the connection ends."""
    head, _, frames = client.received.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 101"):
        return head[9:12].decode() or "no answer"
    core = Connection(CLIENT, limits=Limits(max_message=10_000_000))
    core.receive_data(frames)
    seen: list[str] = []
    try:
        for event in core.events():
            seen.append(described(event))
        if core.buffered:
            seen.append(f"and after it {core.trailing_data.hex(' ')}")
    except RemoteProtocolError as error:
        return ", ".join([*seen, f"the client fails: {error}"])
    if not client.open and not any(line.startswith("Close") for line in seen):
        seen.append("the end without a Close")
    return ", ".join(seen) or "nothing"


def described(event: Event) -> str:
    """Return an event in words."""
    if isinstance(event, Message):
        return f"text {event.data!r}" if len(event.data) < 30 else f"text of {len(event.data):,} bytes"
    if isinstance(event, Close):
        return f"Close {event.code}" + (f" ({event.reason})" if event.reason else "")
    return type(event).__name__
