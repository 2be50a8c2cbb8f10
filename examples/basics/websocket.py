"""A WebSocket with the core alone: an echo server on asyncio's streams, once the handshake is done.

`reply` returns the answer that the protocol demands: a Pong for a Ping, a Close for a Close. The app's own answer is an echo
of each message. The client here sends its frames as bytes. Their masking key is four zeros, so that a reader can read them.

It prints:

    81 05 68 65 6c 6c 6f  an unmasked text frame with "hello"
    8a 00                 a Pong
    88 02 03 e8           a Close with code 1000
"""

import asyncio

from minproto.core import Role, Wants
from minproto.websocket import Connection, Message
from minproto.websocket_handshake import Agreement

MEANING = 'an unmasked text frame with "hello"', "a Pong", "a Close with code 1000"
FRAMES = b"\x81\x85\0\0\0\0hello", b"\x89\x80\0\0\0\0", b"\x88\x82\0\0\0\0\x03\xe8"


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    core = Connection(Role.SERVER, Agreement())
    while core.wants is Wants.DATA:
        data = await reader.read(65_536)
        core.receive_data(data) if data else core.receive_eof()
        for event in core.events():
            answer = Message(event.data) if isinstance(event, Message) else core.reply(event)
            if answer is not None:
                writer.write(core.send(answer))
        await writer.drain()
    writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    for frame, meaning in zip(FRAMES, MEANING, strict=True):
        writer.write(frame)
        print((await reader.read(100)).hex(" ").ljust(21), meaning)
    writer.close()
    server.close()


asyncio.run(main())
