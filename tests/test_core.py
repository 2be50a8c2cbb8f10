"""The driver in the text of ``minproto.core`` runs every core that answers, over a blocking socket."""

import socket
import textwrap
from collections.abc import Callable, Iterator

import pytest

import minproto.core
from minproto import resp, websocket
from minproto.core import Core, Event, LocalProtocolError, Role, Wants
from minproto.http import Data, EndOfMessage, Headers, ResponseHead
from minproto.http1 import Connection
from minproto.websocket_handshake import Agreement


def the_driver() -> Callable[[Core, socket.socket], Iterator[Event]]:
    text = minproto.core.__doc__ or ""
    lines = text[text.index("    def drive") :].partition("\n\n")[0]
    names = vars(minproto.core).copy()
    exec(textwrap.dedent(lines), names)
    return names["drive"]


def drive(core: Core, received: bytes, answer: Callable[[Event], list[Event]] = lambda event: []) -> bytes:
    """What the driver writes to a peer that has sent these bytes, and then its end."""
    ours, peer = socket.socketpair()
    with ours, peer:
        peer.sendall(received)
        peer.shutdown(socket.SHUT_WR)
        for event in the_driver()(core, ours):
            for said in answer(event):
                ours.sendall(core.send(said))
        ours.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: peer.recv(65_536), b""))


def hello(event: Event) -> list[Event]:
    if not isinstance(event, EndOfMessage):
        return []
    return [ResponseHead(200, Headers([("content-length", "5")])), Data(b"hello"), EndOfMessage()]


ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize("count", [1, 2], ids=["one", "pipelined"])
def test_the_driver_serves_http1(count: int) -> None:
    assert drive(Connection(Role.SERVER), REQUEST * count, hello) == ANSWER * count


def test_the_driver_runs_again_for_a_caller_that_answers_later() -> None:
    """A core that is PAUSED ends the first run, and the second run finds the next request without a read."""
    ours, peer = socket.socketpair()
    with ours, peer:
        peer.sendall(REQUEST * 2)
        core = Connection(Role.SERVER)
        for _ in range(2):
            events = list(the_driver()(core, ours))
            assert [type(event).__name__ for event in events] == ["RequestHead", "EndOfMessage"]
            assert core.wants is Wants.PAUSED
            for said in hello(EndOfMessage()):
                ours.sendall(core.send(said))
        assert peer.recv(65_536) == ANSWER * 2


def test_the_driver_says_farewell() -> None:
    """To a request without Host (RFC 9112 §3.2), behind the answer to the request before it."""
    sent = drive(Connection(Role.SERVER), REQUEST + b"GET / HTTP/1.1\r\n\r\n", hello)
    assert sent.startswith(ANSWER + b"HTTP/1.1 400 Bad Request\r\n")


def test_the_driver_gives_what_a_protocol_demands() -> None:
    """A Pong for the Ping, and a Close for the Close (RFC 6455 §5.5)."""
    core = websocket.Connection(Role.SERVER, Agreement())
    assert drive(core, b"\x89\x82\0\0\0\0hi" + b"\x88\x80\0\0\0\0") == b"\x8a\x02hi" + b"\x88\0"


def test_the_driver_serves_resp() -> None:
    core = resp.Connection(Role.SERVER)
    assert drive(core, b"*1\r\n$4\r\nPING\r\n", lambda event: [resp.Reply(resp.Simple("PONG"))]) == b"+PONG\r\n"


def test_nothing_comes_after_the_end_of_input() -> None:
    """A shell that mixes up two connections is told so. No bytes at all are nothing."""
    core = resp.Connection(Role.SERVER)
    core.receive_eof()
    core.receive_data(b"")
    with pytest.raises(LocalProtocolError, match="after the end of input"):
        core.receive_data(b"PING\r\n")
