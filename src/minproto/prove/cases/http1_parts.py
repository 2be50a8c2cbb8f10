r"""What the cases of HTTP/1.1 share: the beginnings of requests, and the patterns of answers.

Most cases send one request and, immediately after it, ``LAST``: a second request, which asks the server to close. So the
answer shows where the server saw the end of the first request:

    400 closed          the server refused the first request, and read no further
    200 200 closed      it accepted the first request, and found the second one where the client had put it
    200 400 closed      it found the end of the first request somewhere else: so begins an attack by request smuggling
    200 open            it waits for more: it took the second request for content of the first one

A server may close a connection at any time (RFC 9112 §9.5), so "200 closed" is acceptable where a second answer was to come.
"""

from minproto.prove.controls import OK

HOST = b"Host: {host}\r\n"
GET = b"GET {path} HTTP/1.1\r\n" + HOST
POST = b"POST {post} HTTP/1.1\r\n" + HOST
ECHO = b"POST {echo} HTTP/1.1\r\n" + HOST
LAST = GET + b"Connection: close\r\n\r\n"
"""The request that follows."""
LAST_ECHO = ECHO + b"Content-Length: 4\r\nConnection: close\r\n\r\nlast"

TWICE = rf"({OK}) \1 closed"
"""The server answers the request as it answers ``LAST``, which asks for the same resource."""
BOTH = f"{OK} {OK} closed"
"""The server answers both requests, each in its way."""
ONCE = f"{OK} closed"
"""The server answers the first request, and closes the connection."""
ECHOED = r"2\d\d content=\[hello\] 2\d\d content=\[last\] closed"
ECHOED_ONCE = r"2\d\d content=\[hello\] closed"

REFUSED = "400 closed"
STRICT = r"[45]\d\d (closed|reset)|closed|reset|[45]\d\d open"
"""Another refusal, or none of our words arrives: a server that closes at once may lose its last response (RFC 9112 §9.6).
Nothing that follows is answered."""
HEAD_ONLY = STRICT + r"|[45]\d\d [2-5]\d\d (open|closed)"
"""A server may also go on after a faulty head, if the end of the head is certain."""
EITHER = f"{HEAD_ONLY}|{BOTH}|{ONCE}"
"""The standard permits a server to be lenient here."""
IN_CONTENT = STRICT + r"|2\d\d (closed|open)|2\d\d\+ (closed|reset|open)|[45]\d\d\+? 400 closed"
"""The fault is in the content, and the server may have answered before it met the fault."""
