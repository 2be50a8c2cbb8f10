"""HTTP/1.1: how long a connection lasts, and what passes on it (RFC 9112 §9; RFC 9110 §7.6, §7.8, §10.1.1)."""

from typing import Any

from minproto.prove.case import Case, Pause, Shut, Step, Trickle, Wait
from minproto.prove.cases.http1_parts import (
    BOTH,
    ECHO,
    ECHOED,
    ECHOED_ONCE,
    GET,
    HOST,
    LAST,
    LAST_ECHO,
    ONCE,
    POST,
    STRICT,
    TWICE,
)
from minproto.prove.controls import OK

_GET_1_0 = b"GET {path} HTTP/1.0\r\nHost: {host}\r\n"
_END = b"\r\n"
_SAID = f"{OK} connection=(?i:close) closed"
_UNSAID = rf"({OK}|400) connection=(?!.* connection=).* closed"
"""A client must not send more after its close, so a server may also refuse all of what has arrived."""
_CUT = r"[2-5]\d\d\+? (closed|reset)|closed|reset"
"""A client must not send more after it has asked for a close, so a server may cut it off."""


def _closes(name: str, entry: str, *steps: Step, **more: Any) -> Case:
    """Return the case of a request after which the server closes, and should say so. What follows is not answered."""
    return Case(f"http1/connection/{name}", entry, steps, right=_SAID, acceptable=_UNSAID, shows=("connection",), **more)


_PERSISTENCE = (
    Case("http1/connection/stays-open", "9112-9.3-persistent", (GET + _END,), right=f"{OK} open", acceptable=ONCE,
         also=("9112-9.3-rules", "9112-6.3-avoid-close", "9112-9.5-sustain")),
    Case("http1/connection/echo-stays-open", "9112-6.3-avoid-close", (ECHO + b"Content-Length: 5\r\n\r\nhello",),
         right=r"2\d\d content=\[hello\] open", acceptable=r"2\d\d content=\[hello\] closed", shows=("content",),
         methods=("POST",), needs=frozenset({"echo"}),
         why="A response that ends with the connection costs the next request a new connection, and hides a cut."),
    Case("http1/connection/next-request-later", "9112-9.3-persistent", (GET + _END, Wait("[2-4].. open"), LAST), right=TWICE,
         acceptable=ONCE),
    Case("http1/connection/next-request-much-later", "9112-9.3-persistent",
         (GET + _END, Wait("[2-4].. open"), Pause(1.0), LAST), right=TWICE, acceptable=ONCE),
    Case("http1/connection/five-requests", "9112-9.3-persistent", ((GET + _END) * 4 + LAST,),
         right=rf"({OK})( \1){{4}} closed", acceptable=f"{OK}( {OK})* closed"),
    _closes("close", "9112-9.6-server-answers-close", LAST,
            also=("9112-9.6-server-received-close-closes", "9112-9.6-close-is-said", "9112-9.6-server-sent-close-closes")),
    _closes("close-and-another-request", "9112-9.6-server-received-close-reads-no-more", LAST + LAST,
            also=("9112-9.6-server-sent-close-reads-no-more",), issue="https://github.com/oven-sh/bun/pull/33005"),
    _closes("close-and-nonsense", "9112-9.6-server-received-close-reads-no-more", LAST + b"nonsense(\r\n\r\n"),
    _closes("close-in-capitals", "9110-7.6.1-options-have-no-case", GET + b"Connection: CLOSE\r\n\r\n" + LAST,
            also=("9112-9.3-rules",)),
    _closes("close-in-a-list", "9112-9.3-rules", GET + b"Connection: foo , close,\r\n\r\n" + LAST),
    _closes("close-on-a-second-line", "9112-9.3-rules", GET + b"Connection: foo\r\nConnection: close\r\n\r\n" + LAST,
            also=("9110-5.3-combine",)),
    _closes("close-on-a-first-line", "9112-9.3-rules", GET + b"Connection: close\r\nConnection: foo\r\n\r\n" + LAST,
            also=("9110-5.3-combine",)),
    Case("http1/connection/refusal-says-close", "9112-9.6-close-is-said", (b"G(T / HTTP/1.1\r\nHost: {host}\r\n\r\n",),
         right=r"[45]\d\d connection=((?i:close) closed|.* open)", acceptable=r"[2-5]\d\d connection=.* closed|closed|reset",
         shows=("connection",), also=("9112-2.2-not-http", "9110-10.1.1-says-whether-it-closes")),
    _closes("close-and-keep-alive", "9112-9.3-rules", GET + b"Connection: keep-alive, close\r\n\r\n" + LAST),
    Case("http1/connection/option-that-contains-close", "9112-9.3-rules",
         (GET + b"Connection: closed, not-close\r\n\r\n" + LAST,),
         right=TWICE, acceptable=ONCE),
    Case("http1/connection/close-after-a-post", "9112-9.6-server-received-close-closes",
         (POST + b"Content-Length: 5\r\nConnection: close\r\n\r\nhello" + LAST,), right=r"[2-5]\d\d closed",
         acceptable=_CUT),
    Case("http1/connection/close-after-chunks", "9112-9.6-server-received-close-closes",
         (POST + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + LAST,),
         right=r"[2-5]\d\d closed", acceptable=_CUT),
    Case("http1/connection/host-as-an-option", "9110-7.6.1-end-to-end",
         (b"GET {path} HTTP/1.1\r\n" + HOST + b"Connection: Host\r\n\r\n" + LAST,), right=BOTH,
         acceptable=f"{ONCE}|4.. closed", why="A proxy that obeys would remove the Host: a server has nothing to remove."),
)  # fmt: skip

_HTTP_1_0 = (
    Case("http1/connection/http-1-0-closes", "9112-9.3-rules", (_GET_1_0 + _END + LAST,), right=f"{OK} closed",
         acceptable="400 closed",
         issue="https://github.com/xrootd/xrootd/pull/812"),
    Case("http1/connection/http-1-0-keep-alive", "9112-9.3-rules", (_GET_1_0 + b"Connection: keep-alive\r\n\r\n",),
         right=f"{OK} connection=((?i:keep-alive) open|.* closed)", acceptable=f"{OK} connection=- open",
         shows=("connection",)),
    Case("http1/connection/http-1-0-keep-alive-and-close", "9112-9.3-rules",
         (_GET_1_0 + b"Connection: Keep-Alive, close\r\n\r\n" + LAST,), right=f"{OK} closed", acceptable="400 closed"),
    Case("http1/connection/http-1-0-without-chunks", "9112-6.1-te-to-an-old-client", (b"GET {large} HTTP/1.0\r\n\r\n",),
         right=r"2\d\d transfer-encoding=- closed", acceptable=r"[345]\d\d transfer-encoding=- closed",
         shows=("transfer-encoding",), needs=frozenset({"large"}), issue="https://github.com/ninenines/cowboy/issues/140"),
    Case("http1/connection/http-1-0-echo-without-chunks", "9112-6.1-te-to-an-old-client",
         (b"POST {echo} HTTP/1.0\r\nHost: {host}\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",),
         right=r"2\d\d transfer-encoding=- content=\[hello\] (open|closed)", methods=("POST",),
         shows=("transfer-encoding", "content"), needs=frozenset({"echo"})),
)  # fmt: skip

_ONE = ECHO + b"Content-Length: 3\r\n\r\none"
_TWO = ECHO + b"Transfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n"
_THREE = r"2\d\d content=\[one\] 2\d\d content=\[two\] 2\d\d content=\[last\] closed"
_CUT_OFF = r"2\d\d content=\[one\]( 2\d\d content=\[two\])? closed"
_PIPELINE = (
    Case("http1/connection/pipelined", "9112-9.3.2-order", (_ONE + _TWO + LAST_ECHO,), right=_THREE, acceptable=_CUT_OFF,
         shows=("content",), methods=("POST",) * 3, needs=frozenset({"echo"})),
    Case("http1/connection/pipelined-byte-by-byte", "9112-9.3.2-order", (Trickle(_ONE + _TWO + LAST_ECHO),), right=_THREE,
         acceptable=_CUT_OFF, shows=("content",), methods=("POST",) * 3, needs=frozenset({"echo"})),
    Case("http1/connection/pipelined-behind-a-large-answer", "9112-9.3.2-order",
         (b"GET {large} HTTP/1.1\r\nHost: {host}\r\n\r\n" + LAST_ECHO,), methods=("GET", "POST"),
         right=r"2\d\d length=\d{6,} 2\d\d length=4 closed", acceptable=r"2\d\d length=\d{6,} closed", shows=("length",),
         needs=frozenset({"echo", "large"})),
    Case("http1/connection/pipelined-large-answers", "9112-9.5-sustain",
         ((b"GET {large} HTTP/1.1\r\nHost: {host}\r\n\r\n") * 40 + LAST_ECHO,),
         methods=(*("GET",) * 40, "POST"), right=r"(2\d\d length=\d{6,} ){40}2\d\d length=4 closed",
         acceptable=r"(2\d\d length=\d{6,} )*(2\d\d\+ )?(closed|reset|open)", shows=("length",),
         needs=frozenset({"echo", "large"}), why="A client may read more slowly than the server can send."),
    Case("http1/connection/pipelined-behind-a-refusal", "9112-9.3.2-order",
         (b"POST /minproto-prove/none HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\n\r\nhello" + LAST,),
         right=rf"[2-5]\d\d {OK} closed", acceptable=r"[2-5]\d\d closed", methods=("POST", "GET")),
    Case("http1/connection/half-closed", "9112-9.5-server-monitors", (GET + _END, Shut()), right=f"{OK} closed",
         acceptable=f"closed|reset|{OK} (reset|open)", needs=frozenset({"clear"}),
         why="A client that has ended its direction still reads the answer (RFC 9112 §9.6)."),
    Case("http1/connection/half-closed-after-a-post", "9112-9.5-server-monitors",
         (ECHO + b"Content-Length: 5\r\n\r\nhello", Shut()), right=r"2\d\d content=\[hello\] closed",
         acceptable=r"closed|reset|2\d\d content=\[hello\] (reset|open)", shows=("content",), methods=("POST",),
         needs=frozenset({"clear", "echo"})),
    Case("http1/connection/end-of-an-idle-connection", "9112-9.5-server-monitors",
         (GET + _END, Wait("[2-4].. open"), Shut()), right=f"{OK} closed", acceptable=f"{OK} (reset|open)",
         needs=frozenset({"clear"})),
    Case("http1/connection/end-before-a-request", "9112-9.5-server-monitors", (Shut(),), right="closed",
         acceptable="reset|4.. closed|silent", needs=frozenset({"clear"})),
)  # fmt: skip

_EXPECTS = b"Expect: 100-continue\r\n"
_FINAL = r"[2-5]\d\d"
_CONTINUES = rf"100 open|{_FINAL} (open|closed)"
_EXPECT = (
    Case("http1/connection/continue", "9110-10.1.1-answer-or-100", (POST + b"Content-Length: 5\r\n" + _EXPECTS + _END,),
         right=_CONTINUES, methods=("POST",), also=("9110-10.1.1-no-wait-for-content",)),
    Case("http1/connection/continue-before-chunks", "9110-10.1.1-answer-or-100",
         (POST + b"Transfer-Encoding: chunked\r\n" + _EXPECTS + _END,), right=_CONTINUES, methods=("POST",)),
    Case("http1/connection/continue-in-capitals", "9110-10.1.1-case-insensitive",
         (POST + b"Content-Length: 5\r\nExpect: 100-CONTINUE\r\n\r\n",), right=_CONTINUES, methods=("POST",)),
    Case("http1/connection/continue-in-a-list", "9110-10.1.1-case-insensitive",
         (POST + b"Content-Length: 5\r\nExpect: , 100-continue\r\n\r\n",), right=_CONTINUES, methods=("POST",)),
    Case("http1/connection/continue-byte-by-byte", "9110-10.1.1-answer-or-100",
         (Trickle(POST + b"Content-Length: 5\r\n" + _EXPECTS + _END),), right=_CONTINUES, methods=("POST",)),
    Case("http1/connection/continue-and-content", "9110-10.1.1-final-follows",
         (ECHO + b"Content-Length: 5\r\n" + _EXPECTS + _END, Wait("100|200|[45].."), b"hello", LAST_ECHO),
         right=f"100 {ECHOED}", acceptable=rf"100 {ECHOED_ONCE}|{ECHOED}|[45]\d\d (?s:.*)", shows=("content",),
         methods=("POST", "POST"), needs=frozenset({"echo"}), also=("9110-15.2-no-content",)),
    Case("http1/connection/content-before-the-100", "9110-10.1.1-may-omit",
         (ECHO + b"Content-Length: 5\r\n" + _EXPECTS + b"\r\nhello" + LAST_ECHO,),
         right=f"(100 )?{ECHOED}", acceptable=rf"(100 )?{ECHOED_ONCE}|[45]\d\d (?s:.*)", shows=("content",),
         methods=("POST", "POST"), needs=frozenset({"echo"})),
    Case("http1/connection/content-after-a-refusal", "9110-10.1.1-says-whether-it-closes",
         (b"POST /minproto-prove/none HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\n" + _EXPECTS + _END,
          Wait("[1-5].."), b"hello", LAST),
         right=rf"(100 )?[2-5]\d\d ({OK} )?closed", acceptable=r"(100 )?[2-5]\d\d reset", methods=("POST", "GET"),
         why="The client may have sent its content before it saw the refusal: the content must not become a request."),
    Case("http1/connection/continue-without-content", "9110-10.1.1-may-omit", (GET + _EXPECTS + _END + LAST,),
         right=rf"(100 )?{BOTH}", acceptable=f"(100 )?{ONCE}|(100 )?417 {OK} closed"),
    Case("http1/connection/continue-in-http-1-0", "9110-10.1.1-not-in-http-1-0",
         (b"POST {post} HTTP/1.0\r\nHost: {host}\r\nContent-Length: 5\r\n" + _EXPECTS + _END, Pause(0.2), b"hello"),
         right=r"2\d\d closed", acceptable=r"(?!417)[345]\d\d (closed|reset)", methods=("POST",), needs=frozenset({"post"}),
         also=("9110-15.2-not-to-http-1-0",), why="An HTTP/1.0 client takes a 100 for the final response."),
    Case("http1/connection/unknown-expectation", "9110-10.1.1-case-insensitive", (GET + b"Expect: nonsense\r\n\r\n" + LAST,),
         right=f"417 closed|417 {OK} closed|{TWICE}", acceptable=rf"{ONCE}|4\d\d {OK} closed"),
    Case("http1/connection/unknown-expectation-with-content", "9110-10.1.1-case-insensitive",
         (POST + b"Content-Length: 5\r\nExpect: nonsense\r\n\r\nhello" + LAST,),
         right=f"417 closed|417 {OK} closed|{BOTH}", acceptable=rf"{ONCE}|[45]\d\d {OK} closed"),
)  # fmt: skip

_KEY = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
_WS = b"GET {ws} HTTP/1.1\r\n" + HOST
_UPGRADE = (
    Case("http1/connection/upgrade-to-nonsense", "9112-9.3-rules",
         (GET + b"Connection: upgrade\r\nUpgrade: nonsense/1\r\n\r\n" + LAST,), right=TWICE,
         acceptable=f"{ONCE}|{BOTH}|{STRICT}",
         why="A server that does not switch goes on with HTTP: the bytes that follow are the next request."),
    Case("http1/connection/upgrade-without-the-option", "9110-7.8-connection-option",
         (_WS + b"Upgrade: websocket\r\n" + _KEY + _END,), right=r"[2-5]\d\d (open|closed)", needs=frozenset({"websocket"}),
         why="Without the option a proxy forwards Upgrade to a server that does not speak with the client."),
    Case("http1/connection/upgrade-in-http-1-0", "9110-7.8-old-version",
         (b"GET {ws} HTTP/1.0\r\n" + HOST + b"Connection: upgrade\r\nUpgrade: websocket\r\n" + _KEY + _END,),
         right=r"[2-5]\d\d (open|closed)", acceptable="closed", needs=frozenset({"websocket"})),
    Case("http1/connection/upgrade", "9110-7.8-101-upgrade",
         (_WS + b"Connection: upgrade\r\nUpgrade: websocket\r\n" + _KEY + _END,), shows=("upgrade", "connection"),
         right=r"101 upgrade=(?i:websocket) connection=(?i:upgrade) open", needs=frozenset({"websocket"}),
         also=("9110-15.2.2-upgrade-field", "9110-7.8-honored", "9110-7.6.1-list-field")),
    Case("http1/connection/upgrade-in-capitals", "9110-7.8-case",
         (_WS + b"Connection: UPGRADE\r\nUpgrade: WEBSOCKET\r\n" + _KEY + _END,), right="101 open",
         acceptable=r"[45]\d\d (open|closed)", needs=frozenset({"websocket"}), also=("9110-7.6.1-options-have-no-case",)),
    Case("http1/connection/upgrade-of-the-request-before", "9110-3.3-same-user-agent",
         (GET + b"Connection: upgrade\r\nUpgrade: nonsense/1\r\n\r\n", Wait("[2-5].. "), _WS + _KEY + _END),
         right=r"[2-5]\d\d [2-5]\d\d (open|closed)", acceptable=r"[2-5]\d\d (closed|open)", needs=frozenset({"websocket"}),
         also=("9110-7.8-not-indicated",),
         why="What one request offers holds for that request only: the next one may be another user's."),
    Case("http1/connection/upgrade-and-expect", "9110-7.8-100-before-101",
         (_WS + b"Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n" + _EXPECTS + _KEY + _END,
          Wait("[1-5].."), b"hello"),
         right=r"100 101.*|(100 )?[2-5]\d\d (open|closed)", acceptable=r"(100 )?[2-5]\d\d .*", needs=frozenset({"websocket"}),
         methods=("GET",)),
    Case("http1/connection/upgrade-to-another-version", "9110-7.8-426", shows=("upgrade",),
         steps=(_WS + b"Connection: upgrade\r\nUpgrade: websocket\r\n" + _KEY.replace(b"13", b"12") + _END,),
         right=r"426 upgrade=.*(?i:websocket).* (open|closed)|(?!426)[2-5]\d\d upgrade=.* (open|closed)",
         needs=frozenset({"websocket"}), also=("9110-15.5.22-upgrade-field",)),
    Case("http1/connection/post-that-upgrades", "9112-9.3-read-the-request",
         (POST + b"Connection: upgrade\r\nUpgrade: nonsense/1\r\nContent-Length: 5\r\n\r\nhello" + LAST,),
         right=BOTH, acceptable=f"{ONCE}|{STRICT}", needs=frozenset({"post"}), methods=("POST", "GET")),
)  # fmt: skip

CASES = (*_PERSISTENCE, *_HTTP_1_0, *_PIPELINE, *_EXPECT, *_UPGRADE)
