"""What the HTTP/1.1 and HTTP/2 clients share: a request's fields, a response, and errors that say what to do.

A user does not see which version carries a request. Both clients have the same method, and it returns the same class:

    async with connect_http("example.org", 80) as client:            # or connect_http2
        response = await client.request("POST", "/items", body=b"an item")
        if response.status == 201:
            print(await response.read())

The calls of one exchange:

    user                  ClientConnection                  ClientResponse                     server
      |--- request() ---------> |                                                                 |
      |                         | request_fields(): Host, Content-Length                          |
      |                         |--- head, content ---------------------------------------------> |
      |                         | <-------------------------------------------- status, fields ---|
      | <-- ClientResponse -----|                                  |                              |
      |--- read() -----------------------------------------------> |                              |
      |                         | <-- receive_content() -----------|                              |
      |                         | <-------------------------------------------------- content ----|
      | <-- the content ----------------------------------------- |                               |

The head comes back first, so that the user can look at the status before reading the content. ``ClientExchange`` is how a
response uses its connection. HTTP/1.1 has one request at a time, so the connection itself is the exchange. In HTTP/2 the
exchange is one stream of many.

**Errors.** A user asks three questions about a failed request, and each has its own answer:

- May I make it again? RequestRefused says yes, whatever the method: the server has not processed the request. After any other
  ConnectionError nobody knows whether it has. So only a request whose method is idempotent (RFC 9110 §9.2.2), such as GET, may
  be repeated.
- Whose fault is it? LocalProtocolError: ours. RemoteProtocolError: the server's.
- What do I do about it? The error's message says it if it can: for example, that the server speaks TLS on this port.
"""

import json
import re
import ssl as tls
from collections.abc import AsyncIterator, Coroutine, Generator
from contextlib import AbstractAsyncContextManager
from email.message import Message
from typing import Any, Protocol, Self, TypeVar
from urllib.parse import urlsplit

from minproto.aio.address import url_address
from minproto.aio.content import check_content
from minproto.aio.endpoint import Endpoint
from minproto.aio.http import HeaderFields, make_headers
from minproto.aio.options import Timeouts, check_type, checked_timeout
from minproto.aio.pipe import Pipe
from minproto.core import Event, LocalProtocolError, RemoteProtocolError
from minproto.http import (
    REASONS,
    SECRET,
    TARGET,
    TOKEN,
    Data,
    EndOfMessage,
    Headers,
    ResponseHead,
    check_target,
    is_host,
    split_list,
    split_target,
)


class RequestRefused(ConnectionError):
    """The server has not processed the request, so the request can be made again on another connection, whatever its method.

    In HTTP/1.1 no byte of the request was sent, because the server had already closed the idle connection. In HTTP/2 the
    server may also have said that it did not process the request (RFC 9113 §8.7).
    """


class StatusError(Exception):
    """What ``ClientResponse.raise_for_status`` raises for a status other than 2xx; ``response`` is the response.

    No rule of HTTP is broken, so this is not a ProtocolError.
    """

    def __init__(self, response: "ClientResponse") -> None:
        phrase = REASONS.get(response.status, "")
        super().__init__(f"{response.url or 'the server'} answered {response.status} {phrase}".rstrip())
        self.response = response


# ---- a request ---------------------------------------------------------------------------------------------------------


def request_fields(
    method: str, target: str, headers: HeaderFields, body: bytes | AsyncIterator[bytes], host: str
) -> Headers:
    """Return the fields of a request: the user's fields, and Host and Content-Length unless the user has given them.

        >>> request_fields("POST", "/items", {"X": "y"}, b"an item", "example.org")
        [('host', 'example.org'), ('x', 'y'), ('content-length', '7')]
        >>> request_fields("GET", "/", {"host": "other.example"}, b"", "example.org")
        [('host', 'other.example')]

    Raises TypeError for an argument of a wrong type. Raises LocalProtocolError for a method or target that can't be sent, for
    a Content-Length that is not the length of the content, and for fields or content that the method can't have.
    """
    _check_request_line(method, target)
    check_content(body)
    fields = make_headers(headers)
    _check_method(method, fields, has_content=body != b"")
    given_host = fields.get("host")
    if given_host is not None and not is_host(given_host):
        raise LocalProtocolError(f"Host has to be one host, such as example.org:8080, not {given_host!r}")
    if given_host is None:  # RFC 9112 §3.2: if the target is a whole URL, Host MUST be the authority in it
        fields.insert(0, ("host", (target and split_target(method, target)[0]) or host))
    if isinstance(body, bytes):
        _add_length(fields, method, body)
    return fields


def _add_length(fields: Headers, method: str, content: bytes) -> None:
    """Add the Content-Length if it is missing. Raises LocalProtocolError if the user has given a wrong length.

    A POST without content says "content-length: 0", because the method gives content a meaning (RFC 9110 §8.6: SHOULD). A GET
    without content has no such field.
    """
    length = fields.get("content-length")
    if length not in (None, str(len(content))):
        raise LocalProtocolError(
            f"Content-Length is {length}, not the length of the content, which is {len(content)} bytes"
        )
    if length is None and fields.get("transfer-encoding") is None and (content or method in ("POST", "PUT", "PATCH")):
        fields.append(("content-length", str(len(content))))


def _check_method(method: str, fields: Headers, has_content: bool) -> None:
    """Raise LocalProtocolError for fields or content with which a client MUST NOT send a request.

    The server sends a TRACE back as it came, so content and secrets would come back, too (RFC 9110 §9.3.8). The content of an
    OPTIONS has to say what it is (§9.3.7). And a client that has no content can't hold it back until a 100 comes (§10.1.1).
    A CONNECT has no content: the bytes for a tunnel are sent through the response's pipe, after a 2xx (§9.3.6).
    """
    if method in ("TRACE", "CONNECT") and has_content:
        raise LocalProtocolError(f"a {method} has no content")
    if method == "TRACE" and (secrets := SECRET.intersection(dict(fields))):
        raise LocalProtocolError(f"a TRACE comes back to whoever asks, so it has no {min(secrets)}")
    if method == "OPTIONS" and has_content and fields.get("content-type") is None:
        raise LocalProtocolError("an OPTIONS with content needs a content-type")
    if not has_content and "100-continue" in split_list(fields.get("expect") or ""):
        raise LocalProtocolError("without content there is nothing to wait for: expect is 100-continue")


def _check_request_line(method: str, target: str) -> None:
    """Raise TypeError or LocalProtocolError for a method or target that can't be sent. The message names the value.

    The cores check both as well, but their error is the same for every wrong head, and does not say which part is wrong.
    """
    check_type("method", method, str)
    check_type("target", target, str)
    if not TOKEN.fullmatch(method):
        raise LocalProtocolError(f"a method is a token, such as GET, not {method!r}")
    if not _TARGET.fullmatch(target):
        raise LocalProtocolError(f"a target is a path, such as /a?b=c, with other characters percent-encoded, not {target!r}")
    try:
        check_target(method, target, LocalProtocolError)
    except LocalProtocolError as error:
        advice = "" if method == "CONNECT" else " (a target is a path, such as /a?b=c)"
        raise LocalProtocolError(f"{error}: {target!r}{advice}") from None


_TARGET = re.compile(f"[{TARGET}]+")


# ---- a response --------------------------------------------------------------------------------------------------------


class ClientExchange(Protocol):
    """What a ``ClientResponse`` uses of its connection."""

    async def receive_content(self, seconds: float | None) -> Event:
        """Wait for the next Data, or EndOfMessage. Raises TimeoutError if none comes in ``seconds`` (None: no limit)."""

    def tunnel(self) -> Pipe | None:
        """Return the pipe for another protocol, if the response has given the connection to that protocol; else None."""

    async def give_up(self) -> None:
        """Receive no more of the response: the user does not want it."""


class ClientResponse:
    """A response: its head, and its content as it arrives. ``async for piece in response``, or ``await response.read()``.

    ``async with response`` closes the response at the end of the block, if it was not read to its end.
    """

    def __init__(
        self, head: ResponseHead, exchange: ClientExchange | None, body_timeout: float | None = Timeouts.body
    ) -> None:
        """``exchange``: None if the response is only a head."""
        self.status = head.status
        self.headers = head.headers
        self.http_version = head.version
        """The version of HTTP that the server speaks: "1.0", "1.1" or "2"."""
        self.url = ""
        """The URL of the request, if a ``Client`` made it."""
        self.trailers = Headers()
        """The fields after the content. They are complete once the content has been read to its end."""
        self._body_timeout = body_timeout
        self.pipe = exchange.tunnel() if exchange is not None else None
        """After a 101, or a 2xx to CONNECT: the pipe for the other protocol. Such a response has no content."""
        self.exchange = exchange if self.pipe is None else None
        """The source of the content; None: there is no more content."""
        self._content: bytes | None = None  # what ``read`` has returned

    @property
    def body_timeout(self) -> float | None:
        """Seconds to wait for the next piece of content, at first ``Timeouts.body``; None: no limit. Set it before you read
        content that the server sends piece by piece, now and then, such as the messages of a gRPC call."""
        return self._body_timeout

    @body_timeout.setter
    def body_timeout(self, seconds: float | None) -> None:
        self._body_timeout = checked_timeout("body_timeout", seconds)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self.exchange is None:
            raise StopAsyncIteration
        event = await self.exchange.receive_content(self.body_timeout)
        if isinstance(event, Data):
            return event.data
        assert isinstance(event, EndOfMessage)
        self.trailers = event.trailers
        self.exchange = None
        raise StopAsyncIteration

    async def read(self) -> bytes:
        """Return the whole content. The connection's limits bound the size of the content. A second call returns it again."""
        if self._content is None:
            self._content = b"".join([piece async for piece in self])
        return self._content

    async def text(self) -> str:
        """Return the content as text, in the charset of its Content-Type; in UTF-8 if there is none.

        A byte that is wrong in this charset becomes U+FFFD. Raises RemoteProtocolError for a charset that Python doesn't know.
        """
        kind = Message()
        kind["content-type"] = self.headers.get("content-type") or "text/plain"
        charset = kind.get_content_charset("utf-8")
        content = await self.read()
        try:
            return content.decode(charset, "replace")
        except LookupError:
            raise RemoteProtocolError(f"the content has the charset {charset!r}: read() returns it as bytes") from None

    async def json(self) -> Any:
        """Return the content as an object. Raises ValueError for content that is not JSON (RFC 8259)."""
        return json.loads(await self.read())

    def raise_for_status(self) -> Self:
        """Return this response. Raises StatusError if its status is not 2xx: 302 and 404, for example."""
        if not 200 <= self.status < 300:
            raise StatusError(self)
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop reading the content. HTTP/2 resets the stream. HTTP/1.1 can only end the connection."""
        if self.exchange is not None:
            await self.exchange.give_up()
            self.exchange = None

    aclose = close  # the name that generators use: a proxy can give this response to ``Response`` as its content


def is_interim(event: Event) -> bool:
    """Return whether an event is an interim response: 100 to 199, but not 101, which is a final one in HTTP/1.1."""
    return isinstance(event, ResponseHead) and event.status < 200 and event.status != 101


# ---- errors that say what to do ----------------------------------------------------------------------------------------


def with_request(error: Exception, request: str) -> Exception:
    """Return an error of the same class whose text begins with the request: ``GET http://a/: the server closed …``.

    The error itself stays as it is. Several requests may have failed with one and the same error: all requests on one
    connection, say. ``Refused`` and its subclasses need a response to be made, so ``__init__`` is passed over for every
    RemoteProtocolError.
    """
    if isinstance(error, OSError) and error.errno is not None:
        named: Exception = type(error)(error.errno, f"{request}: {error.strerror}")
    elif isinstance(error, RemoteProtocolError):
        named = type(error).__new__(type(error), f"{request}: {_text_for_url(error, request)}")
    else:
        named = type(error)(f"{request}: {_text_for_url(error, request)}")
    vars(named).update(vars(error))  # the ``code`` of a RemoteProtocolError, the ``reason`` of an SSLError
    return named


def _text_for_url(error: Exception, request: str) -> str:
    """Return an error's text. If the user has given a URL with the wrong scheme, the text names the right URL.

        http://a:8443/x, and the port speaks TLS      use https://a:8443/x
        https://a/x, and the port speaks clear text   use http://a:443/x

    The port stays, because the server that answered is on that port. ``request`` is "GET http://a:8443/x", or only the URL.
    """
    text, url = str(error), request.rpartition(" ")[2]
    is_clear = isinstance(error, ConnectionError) and isinstance(error.__cause__, tls.SSLError)  # see ``connect_pipe``
    if "://" not in url or not (is_clear or _USE_TLS in text):
        return text
    parts = urlsplit(url)
    scheme = parts.scheme.removesuffix("s") if is_clear else f"{parts.scheme}s"
    advice = f"use {url_address(parts).url(scheme)}{parts.path}"
    return f"{text}: {advice}" if is_clear else text.replace(_USE_TLS, advice)


_USE_TLS = "give the client a context (ssl=…)"
"""Advice for a user of ``connect_http``. Whoever has given a URL gets another URL instead."""


def with_first_bytes(error: RemoteProtocolError, endpoint: Endpoint, ours: str) -> RemoteProtocolError:
    """Return an error that also says what the server sent, if the error is about the server's very first bytes.

    If we recognize the protocol of these bytes, the error names that protocol, and says how to speak it. For example, an
    HTTP/1.1 client on a TLS port gets ``15 03 03 00 02 02 46``, a TLS alert. ``ours``: the protocol that we speak, "HTTP/1" or
    "HTTP/2". The error never suggests this protocol.
    """
    start = endpoint.core.trailing_data
    if not start or len(start) != endpoint.received:
        return error
    known = [what for what, looks in _PROTOCOLS.items() if looks.match(start) and not what.startswith(ours)]
    text = f"the server speaks {known[0]} ({error})" if known else f"{error}: the server said {start[:60]!a}"
    return RemoteProtocolError(text, error.code)


_PROTOCOLS = {
    "HTTP/1 on this port, not HTTP/2: use connect_http": re.compile(rb"HTTP/1\."),
    # a frame: three bytes of length, the type SETTINGS (4), flags, and the stream 0
    "HTTP/2 on this port, not HTTP/1.1: use connect_http2": re.compile(rb"..." rb"\x04." rb"\0\0\0\0", re.DOTALL),
    # a record: the type alert (0x15) or handshake (0x16), and the version 3.x
    f"TLS on this port: {_USE_TLS}": re.compile(rb"[\x15\x16]\x03"),
}
"""What to tell a user about each protocol, and a pattern for the first bytes of that protocol."""


def advice_on_silence(endpoint: Endpoint) -> str:
    """Return advice if a server has closed a connection in clear text without sending a byte. Many TLS servers do so."""
    silent = not endpoint.received and endpoint.pipe.info("ssl_object") is None
    return f" (it said nothing at all: does it want TLS on this port? Then {_USE_TLS})" if silent else ""


# ---- connecting --------------------------------------------------------------------------------------------------------

C = TypeVar("C", bound=AbstractAsyncContextManager[Any])


class Connecting(Coroutine[Any, Any, C]):
    """The result of a function that connects. ``await`` it, or use it as a block: ``async with connect_http(...) as client``.

    A plain coroutine could only be awaited, and the block would be ``async with await connect_http(...)``. In all other
    respects this object is a coroutine: it can be made a task, or given to ``asyncio.wait_for``.
    """

    def __init__(self, connecting: Coroutine[Any, Any, C]) -> None:
        self._connecting = connecting

    def __await__(self) -> Generator[Any, Any, C]:
        return self._connecting.__await__()

    def send(self, value: Any) -> Any:
        return self._connecting.send(value)

    def throw(self, *error: Any) -> Any:
        return self._connecting.throw(*error)

    def close(self) -> None:
        self._connecting.close()

    async def __aenter__(self) -> C:
        self._connection = await self._connecting
        return self._connection

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        await self._connection.__aexit__(kind, error, trace)
