"""WebSocket: peers that are slow (``--slow``), and peers that want to do harm (``--hostile``). No standard says what a server
does about them, with few exceptions: a server that has no answer can be made useless by one client."""

import zlib

from minproto.prove.case import Case, Pause, Reply, Step, Trickle
from minproto.prove.messages import closing, echo, message, sent
from minproto.prove.transcripts.websocket import KEY
from minproto.websocket import BINARY, CONTINUATION, FIN, PING, PONG, RSV1, TEXT

_HANDSHAKE = (
    b"GET {ws} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: " + KEY.encode() + b"\r\n"
)
_MINUTE = 65.0
_BOUNDED = r"(\S+ )*(close=\d+ )?(closed|reset)"
_ECHO = echo("hello")


def _case(name: str, *steps: Step, right: str, entry: str = "", **more: object) -> Case:
    return Case(f"websocket/{name}", entry, steps, right=right, **more)  # type: ignore[arg-type]


def _handshake(name: str, *steps: Step, **more: object) -> Case:
    return _case(name, *steps, speaks="http1", **more)  # type: ignore[arg-type]


SLOW = (
    _handshake("slow/handshake-never-ends", _HANDSHAKE, Pause(_MINUTE), right=r"(4\d\d )?(closed|reset)",
               why="Each such connection holds a socket. A few thousand of them stop the server.",
               issue="CWE-400 (Slowloris)"),
    _handshake("slow/nothing-is-sent", Pause(_MINUTE), right=r"(4\d\d )?(closed|reset)", acceptable="silent",
               why="A connection that never sends a request still holds a socket."),
    _handshake("slow/handshake-in-pieces", Trickle(_HANDSHAKE + b"\r\n", 8, 0.05), right="101 open",
               why="A slow network is no attack."),
    _case("slow/frame-in-pieces", Trickle(message("hello" * 20), 4, 0.05), right=f"{echo('hello' * 20)} open",
          why="A slow network is no attack."),
    _case("slow/idle", Pause(15.0), message("hello"), right=rf"(ping )*{_ECHO} open",
          acceptable=r"(ping )*(close=\d+ )?(closed|reset)",
          why="A WebSocket may be silent. A server that wants to know whether its client lives sends a Ping."),
    _case("slow/pings-not-answered", Pause(90.0), right=r"(ping )+(close=\d+ )?(closed|reset)",
          acceptable=r"(ping )*open|silent",
          why="A client that answers no Ping has gone. Its connection would stay for ever."),
    _case("slow/frame-never-ends", message("hello" * 20)[:50], Pause(_MINUTE),
          right=r"(ping )+open|(ping )*(close=\d+ )?(closed|reset)",
          acceptable="silent", why="Half a message holds the server's memory until the other half arrives."),
    _case("slow/reader", b"".join(message(b"x" * 65_535) for _ in range(60)),
          right=" ".join([echo(b"x" * 65_535)] * 60) + " open",
          acceptable=_BOUNDED, why="A client that sends 4 MB before it reads: the server has to wait for it, or to give up."),
)  # fmt: skip

_BOMB = zlib.compressobj(wbits=-15)
_ZEROS = (_BOMB.compress(bytes(1 << 20)) + _BOMB.flush(zlib.Z_FULL_FLUSH)) * 200
"""200 MiB of zeros, in some 200 kB: after a full flush, equal bytes of input are compressed to equal bytes."""
_REFUSED = r"[45]\d\d (open|closed|reset)|closed|reset"

HOSTILE = (
    _case("hostile/huge-frame", bytes.fromhex("82ff0000010000000000 00000000"), Reply("close", closing(1009)),
          entry="6455-10.4-protected", right="close=1009 closed", acceptable=rf"{_BOUNDED}|silent", also=("6455-10.4-limits",),
          why="The header announces a tebibyte. A server that allocates memory for all of it crashes.",
          issue="https://github.com/faye/websocket-driver-ruby (messages without a bound)"),
    _case("hostile/huge-message-in-fragments", sent(BINARY, b"x" * 1_000), *[sent(CONTINUATION, bytes(1 << 20))] * 4,
          bytes.fromhex("00ff0000010000000000 00000000"), Reply("close", closing(1009)), entry="6455-10.4-limits",
          right="close=1009 closed", acceptable=rf"{_BOUNDED}|silent",
          why="A bound on each frame does not bound the message."),
    _case("hostile/empty-fragments", sent(TEXT) + sent(CONTINUATION) * 5_000 + sent(FIN | CONTINUATION),
          right=r"text=\[\] open",
          acceptable=_BOUNDED,
          why="An empty fragment costs its sender six bytes. A server that keeps a list of fragments needs far more "
              "memory for each."),
    _case("hostile/pings", sent(FIN | PING, b"x" * 125) * 3_000 + message("hello"), right=rf"(pong=\[x+\] )+{_ECHO} open",
          acceptable=_BOUNDED,
          why="A server answers each Ping. If the client does not read the Pongs, a server without a bound fills its memory."),
    _case("hostile/pongs", sent(FIN | PONG, b"x" * 125) * 3_000 + message("hello"), right=f"{_ECHO} open", acceptable=_BOUNDED,
          why="A server ignores a Pong without a Ping, however many come."),
    _case("hostile/messages-of-a-byte", message("a") * 3_000, right=r"(text=\[a\] ){3000}open", acceptable=_BOUNDED,
          why="One segment can carry hundreds of small messages."),
    _case("hostile/decompression-bomb", sent(FIN | BINARY | RSV1, _ZEROS), Reply("close", closing(1009)),
          entry="6455-10.4-protected", right="close=1009 closed", acceptable=r"(close=\d+ )?(closed|reset)",
          needs=frozenset({"deflate"}), offers="permessage-deflate", why="The message has 200 kB, and inflates to 200 MiB.",
          issue="CVE-2018-1000518 (websockets: a message that inflates without a bound)"),
    _case("hostile/bomb-in-fragments", sent(BINARY | RSV1, _ZEROS[:100_000]), sent(FIN | CONTINUATION, _ZEROS[100_000:]),
          Reply("close", closing(1009)), entry="6455-10.4-limits", right="close=1009 closed",
          acceptable=r"(close=\d+ )?(closed|reset)", needs=frozenset({"deflate"}), offers="permessage-deflate",
          why="A server has to count the inflated bytes of all fragments of a message."),
    _case("hostile/mask-of-the-payload", sent(FIN | TEXT, b"GET / HTTP/1.1\r\n\r\n", b"GET "),
          right=f"{echo('GET / HTTP/1.1' + chr(13) + chr(10) + chr(13) + chr(10))} open",
          why="The key equals the first bytes of the payload, so the wire carries zeros there."),
    _handshake("hostile/extensions-of-backslashes",
               _HANDSHAKE + b'Sec-WebSocket-Extensions: a; b="' + b"\\c" * 2_000 + b"\r\n\r\n",
               right=r"400 (open|closed)", acceptable=rf"101 open|{_REFUSED}",
               why="A pattern that tries each way to read the quoted string takes hours.",
               issue="CVE-2020-7662, CVE-2020-7663 (websocket-extensions)"),
    _handshake("hostile/extensions-of-semicolons", _HANDSHAKE + b"Sec-WebSocket-Extensions: a" + b"; " * 2_000 + b"\r\n\r\n",
               right=r"400 (open|closed)", acceptable=rf"101 open|{_REFUSED}",
               why="A pattern that backtracks takes hours.", issue="CVE-2020-7662, CVE-2020-7663 (websocket-extensions)"),
    _handshake("hostile/many-offers", _HANDSHAKE + b"Sec-WebSocket-Extensions: " + b"permessage-deflate; x, " * 300
               + b"x\r\n\r\n", right="101 open", acceptable=rf"{_REFUSED}",
               why="Each of the 300 offers has an unknown parameter, so the server declines it and looks at the next one."),
    _handshake("hostile/subprotocol-of-blanks", _HANDSHAKE + b"Sec-WebSocket-Protocol: x" + b" " * 4_000 + b"y\r\n\r\n",
               right=r"400 (open|closed)", acceptable=rf"101 open|{_REFUSED}",
               why="A pattern that strips blanks may take quadratic time.", issue="CVE-2021-32640 (ws)"),
    _handshake("hostile/many-fields", _HANDSHAKE + b"".join(b"X-%d: y\r\n" % each for each in range(2_000)) + b"\r\n",
               right=r"(431|400) (open|closed|reset)", acceptable=rf"101 open|{_REFUSED}",
               why="A server bounds the head of a request.",
               issue="CVE-2024-37890 (ws: a request with many fields ends the server)"),
    _handshake("hostile/long-key", _HANDSHAKE.replace(KEY.encode(), b"A" * 30_000) + b"\r\n",
               right=r"(400|431) (open|closed|reset)", acceptable=rf"101 open|{_REFUSED}",
               why="A right key has 24 characters."),
    _handshake("hostile/frame-instead-of-a-handshake", message("hello") + b"\r\n\r\n", right=r"400 (open|closed)",
               acceptable=_REFUSED,
               why="Bytes that are no HTTP get a 400, or end the connection."),
    _handshake("hostile/nul-in-the-key", _HANDSHAKE.replace(KEY.encode(), b"dGhl\0HNhbXBsZSBub25jZQ==") + b"\r\n",
               right=r"400 (open|closed)", acceptable=_REFUSED, entry="9110-5.5-cr-lf-nul",
               why="NUL ends a string for some programs and not for others, so two programs read two different keys."),
)  # fmt: skip

CASES = (*SLOW, *HOSTILE)
