"""The faults of the conformance tests once more, said frame by frame to a server whose app answers at once.

By the time that a fault is said its stream is answered, so it may be closed, or about to be: that changes no verdict, or a
client would meet another server on a slow line than on a fast one.
"""

import asyncio

import pytest
from harness import serving, virtual
from http2_wire import PROBE, Wire, frame, ping, settings, split
from test_http2_conformance import WRONG

from minproto.http2_frames import ACK, GOAWAY, PING, PREFACE, RST_STREAM, SETTINGS, STREAM_CLOSED, Frame

PAUSE = 0.05
ONLY_WHILE_ANSWERED = {
    "5.1.2 too many streams": "there is never more than one",
    "6.9.1 a stream's window over 2^31-1": "a stream that both have ended has no window any more",
    "6.9.2 INITIAL_WINDOW_SIZE that lifts a window over 2^31-1": "the same",
}
"""Faults that are none on a stream that is complete, and why."""


@pytest.mark.parametrize("name", sorted(set(WRONG) - set(ONLY_WHILE_ANSWERED)))
@virtual
async def test_a_verdict_does_not_depend_on_how_fast_the_app_is(name: str) -> None:
    verdict, case = WRONG[name]
    said = case(Wire())
    async with serving() as server:
        client = server.client()
        client.send(PREFACE + settings() + frame(SETTINGS, ACK))
        for piece in [said] if isinstance(said, bytes) else said:
            await asyncio.sleep(PAUSE)
            client.send(piece)
        fault = await _first(client.pipe, (RST_STREAM, GOAWAY))
        kind = "stream" if fault.type == RST_STREAM else "connection"
        code = int.from_bytes(fault.payload[:4] if kind == "stream" else fault.payload[4:8], "big")
        # §5.1: on a stream that is closed by both, what was an error of the stream is one of the connection.
        assert (kind, code) == (verdict[0] if code != STREAM_CLOSED else kind, verdict[-1])
        if kind == "stream":
            client.send(ping(PROBE))
            assert (await _first(client.pipe, (PING,))).payload == PROBE
        await client.pipe.close()


async def _first(pipe, types: tuple[int, ...]) -> Frame:
    """The first frame of one of these types."""
    received = b""
    async with asyncio.timeout(1):
        while True:
            data = await pipe.read()
            assert data, "the end came without a word"
            received += data
            for found in split(received):
                if found.type in types:
                    return found
