"""WebSocket: Ping, Pong and Close, and how a connection ends (RFC 6455 §5.5, §7). Autobahn's cases 2 and 7 are about the same
rules."""

from minproto.prove.case import Case, Pause, Shut, Trickle
from minproto.prove.messages import closed, closing, echo, echoed, fault, message, sent
from minproto.websocket import CLOSE, CONTINUATION, FIN, PING, PONG, TEXT

_PING, _PONG, _CLOSE = FIN | PING, FIN | PONG, FIN | CLOSE
_ANY = bytes.fromhex("00ff7f80c3280d0a")
_TEN = tuple(b"%d" % each for each in range(10))


def _ping(name: str, entry: str, payload: bytes, **more: object) -> Case:
    """Return a case of one Ping, which is answered."""
    answer = echo(payload).replace("binary", "pong", 1)
    return Case(f"websocket/control/{name}", entry, (sent(_PING, payload),), right=f"{answer} open",
                **more)  # type: ignore[arg-type]


_UNASKED = "A Pong without a Ping is a sign of life. An answer to it is not expected, though no sentence forbids the answer."

CONTROL = (
    _ping("ping", "6455-5.5.2-pong", b"hello", also=("6455-5.5.3-same-data", "6455-6.2-control", "6455-5.5.2-pong-soon",
                                                     "6455-5.4-control-not-fragmented")),
    _ping("empty-ping", "6455-5.5.2-pong", b""),
    _ping("ping-of-any-bytes", "6455-5.5.3-same-data", _ANY),
    _ping("ping-of-125-bytes", "6455-5.5-control-of-125-bytes", b"\xfe" * 125),
    Case(
        "websocket/control/pong-within-half-a-second", "6455-5.5.2-pong-soon", (sent(_PING, b"a"), Pause(0.5), closing()),
        right=r"pong=\[a\] close=1000 closed", acceptable=r"(pong=\[a\] )?close=\d+ (closed|reset)",
        why="A Pong is a sign of life: one that comes late ends the connection. After our Close none has to come.",
    ),
    Case(
        "websocket/control/ping-byte-by-byte", "6455-5.5.2-pong", (Trickle(sent(_PING, b"hello")),),
        right=r"pong=\[hello\] open",
    ),
    Case(
        "websocket/control/ten-pings", "6455-5.5.3-latest-ping", tuple(sent(_PING, each) for each in _TEN),
        right=" ".join(rf"pong=\[{each.decode()}\]" for each in _TEN) + " open",
        acceptable=r"(pong=\[\d\] )*pong=\[9\] open", also=("6455-5.5.2-pong",),
    ),
    Case(
        "websocket/control/ping-after-a-message", "6455-5.5.2-pong", (message("hello"), sent(_PING, b"a")),
        right=rf"{echo('hello')} pong=\[a\] open|pong=\[a\] {echo('hello')} open",
    ),
    Case("websocket/control/pong", "6455-5.5.3-unsolicited", (sent(_PONG), sent(_PING, b"a")), right=r"pong=\[a\] open",
         acceptable=r"pong=\[\] pong=\[a\] open", why=_UNASKED),
    Case(
        "websocket/control/pong-with-data", "6455-5.5.3-unsolicited", (sent(_PONG, b"hello"), sent(_PING, b"a")),
        right=r"pong=\[a\] open", acceptable=r"pong=\[hello\] pong=\[a\] open", also=("6455-6.2-control",), why=_UNASKED,
    ),
    echoed("control/message-after-a-pong", "6455-5.5.3-unsolicited", sent(_PONG, b"?"), message("hello"), gives="hello",
           acceptable=r"pong=\[\?\] text=\[hello\] open", why=_UNASKED),
    fault("control/ping-of-126-bytes", "6455-5.5-control-of-125-bytes", sent(_PING, b"\xfe" * 126)),
    fault("control/pong-of-126-bytes", "6455-5.5-control-of-125-bytes", sent(_PONG, b"\xfe" * 126)),
    fault("control/ping-of-65536-bytes", "6455-5.5-control-of-125-bytes", sent(_PING, bytes(65_536))),
    fault("control/ping-without-fin", "6455-5.4-control-not-fragmented", sent(PING, b"a"), sent(FIN | CONTINUATION, b"b")),
    fault("control/pong-without-fin", "6455-5.4-control-not-fragmented", sent(PONG, b"a")),
    fault("control/close-without-fin", "6455-5.4-control-not-fragmented", sent(CLOSE, b"\x03\xe8")),
    fault("control/ping-without-fin-within-a-message", "6455-5.4-control-not-fragmented", sent(TEXT, b"a"), sent(PING, b"b")),
)  # fmt: skip

_CODES = (1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
"""The codes of §7.4.1 and §7.4.2 that a client may send."""
_REGISTERED = (1012, 1013, 1014)
"""The codes that IANA registered later: a server that knows only RFC 6455 may refuse them."""
_NEVER = {1005: "6455-7.4.1-1005", 1006: "6455-7.4.1-1006", 1015: "6455-7.4.1-1015"}
_UNUSED = (0, 999, 1004, 1016, 2999, 5000, 65_535)
_CLEAR = frozenset({"clear"})
"""Python's TLS cannot end one direction alone."""
_TYPICALLY = r"close=(1000|1005) closed"
"""§5.5.1: an endpoint *typically* echoes the code."""

ENDS = (
    closed(
        "close/code-1000", "6455-5.5.1-close-answered", closing(), leeway=r"close=1005 closed",
        also=("6455-5.5.1-tcp-closed", "6455-5.5.1-server-closes-at-once", "6455-5.5.1-close-answered-soon",
              "6455-7.1.2-closed-after-both", "6455-7.1.1-server-first", "6455-7.1.1-server-initiates",
              "6455-7.1.1-clean"),
        why="A client waits for the server to close TCP, so a server that waits for the client keeps both connections.",
    ),
    closed("close/no-code", "6455-5.5.1-close-answered", sent(_CLOSE), codes="1005", leeway=_TYPICALLY,
           also=("6455-7.1.5-1005",)),
    closed(
        "close/with-a-reason", "6455-5.5.1-close-answered", closing(1000, b"bye"), leeway=_TYPICALLY,
        also=("6455-7.1.2-code-and-reason", "6455-7.1.6-empty-reason"),
    ),
    closed(
        "close/reason-of-123-bytes", "6455-5.5-control-of-125-bytes", closing(1000, b"*" * 123), leeway=_TYPICALLY,
    ),
    closed("close/reason-in-greek", "6455-5.5.1-reason-of-utf-8", closing(1000, b"\xce\xba\xe1\xbd\xb9"), leeway=_TYPICALLY),
    closed("close/byte-by-byte", "6455-5.5.1-close-answered", Trickle(closing(1000, b"bye")), leeway=_TYPICALLY),
    *(closed(f"close/code-{code}", "6455-7.4.2-ranges", closing(code), codes=str(code), leeway=_TYPICALLY,
             also=("6455-7.1.5-first-close", "6455-5.5.1-close-answered")) for code in _CODES),
    *(closed(f"close/code-{code}", "6455-7.4.2-ranges", closing(code), codes=str(code),
             leeway=rf"{_TYPICALLY}|(close=1002 )?(closed|reset)", why="IANA has registered this code since RFC 6455.")
      for code in _REGISTERED),
    *(fault(f"close/code-{code}", entry, closing(code), why="The code is for a program's own use: no Close may carry it.")
      for code, entry in _NEVER.items()),
    *(fault(f"close/code-{code}", "6455-7.4.2-ranges", closing(code),
            why="No standard gives this code a meaning. No sentence says what the recipient does.") for code in _UNUSED),
    fault("close/half-a-code", "6455-5.5.1-code-of-two-bytes", sent(_CLOSE, b"\x03")),
    fault("close/reason-not-utf-8", "6455-5.5.1-reason-of-utf-8", closing(1000, b"\xce\xba\xff"), code=1007,
          also=("6455-8.1-utf-8-fails", "6455-7.1.7-close-with-code")),
    fault("close/reason-of-124-bytes", "6455-5.5-control-of-125-bytes", closing(1000, b"*" * 124)),
    closed(
        "close/message-before", "6455-5.5.1-close-answered", message("hello") + closing(), before=rf"{echo('hello')} ",
        leeway=r"close=(1000|1005) closed",
        why="The message arrived before the Close. A server need not send its answer any more.",
    ),
    closed(
        "close/message-after", "6455-5.5.1-no-data-after-close", closing() + message("hello"), leeway=_TYPICALLY,
        also=("6455-6.1-open", "6455-7.1.1-trailing-bytes", "6455-7.1.5-first-close"),
    ),
    closed("close/ping-after", "6455-5.5.2-pong", closing() + sent(_PING, b"a"), leeway=_TYPICALLY),
    closed("close/twice", "6455-5.5.1-crossing-closes", closing() + closing(1001), leeway=_TYPICALLY,
           also=("6455-5.5.1-close-answered",)),
    closed("close/within-a-message", "6455-5.4-control-in-the-middle", sent(TEXT, b"a"), closing(), leeway=r"close=\d+ closed",
           also=("6455-6.1-abort",)),
    closed("close/then-the-end-of-tcp", "6455-5.5.1-close-answered", closing(), Shut(), leeway=_TYPICALLY),
    Case(
        "websocket/close/end-without-close", "6455-7.1.5-1006", (message("a"), Pause(0.2), Shut()),
        right=rf"{echo('a')} (close=1002 |close=1005 )?closed", acceptable=rf"{echo('a')} ((close=\d+ )?closed|reset)",
        needs=_CLEAR, why="Nobody will read on: a server that keeps such a connection keeps it for ever.",
    ),
    Case(
        "websocket/close/end-within-a-frame", "6455-7.1.5-1006", (message("hello")[:8], Shut()), right=r"(close=\d+ )?closed",
        acceptable="reset", needs=_CLEAR, why="Nobody will read on: a server that keeps such a connection keeps it for ever.",
    ),
    Case(
        "websocket/close/fault-ends-tcp", "6455-7.1.7-server-closes", (sent(FIN | 0x3),), right="close=1002 closed",
        acceptable=r"(close=\d+ )?(closed|reset)|close=1002 open",
        why="A server should close TCP at once (§7.1.1). A server that waits for our Close keeps the connection for longer.",
        also=("6455-7.1.7-close-with-code", "6455-7.1.1-server-initiates"),
    ),
    Case(
        "websocket/close/nothing-is-read-after-a-fault", "6455-7.1.7-nothing-more-is-read",
        (sent(FIN | 0x3) + sent(_PING, b"a") + message("hello"),), right="close=1002 closed",
        acceptable=r"(close=\d+ )?(closed|reset)|close=\d+ open",
    ),
)  # fmt: skip

CASES = (*CONTROL, *ENDS)
