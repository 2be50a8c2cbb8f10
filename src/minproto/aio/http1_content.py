r"""The content of an HTTP/1.1 request, as the app reads it: ``await request.read()``, ``async for piece in request.body``.

Content is read only when the app asks for it. Before that, its bytes wait in the kernel, and TCP's backpressure stops the
client. So an upload of any size takes little memory, and an app that does not want it can refuse it unread.

    client                                 RequestContent                                app
      |--- POST / HTTP/1.1                       |                                        |
      |    Content-Length: 1000000               |                                        |
      |    Expect: 100-continue -------------->  |                                        |
      |                                          | <-------------- receive_content() -----|
      | <-- HTTP/1.1 100 Continue ---------------|  only now, since the app wants it      |
      |--- bytes ------------------------------> |  waits for at most Timeouts.body,      |
      |                                          |  at Timeouts.min_body_rate on average  |
      |                                          |--- Data -----------------------------> |

A request without content, such as most GETs, never uses this class.

Easy to get wrong:

- ``Expect: 100-continue`` (RFC 9110 §10.1.1). A client that sends this field holds its content back until it sees a 100.
  The 100 is sent when the app first waits for content. If the app answers without reading, no 100 is sent, and the client
  need not send its content at all.
- The time limit of an upload ends when the response begins. From then on the two sides are in a conversation, as in gRPC, and
  the app decides how long the client may be silent.
- Content that the app did not read comes before the next request. We read and drop it to keep the connection, but only
  if there is little of it: otherwise a client could make us read a gigabyte for a 404.
"""

import asyncio
import math

from minproto.aio.endpoint import Endpoint
from minproto.aio.http import LATE, Request
from minproto.aio.patience import UploadPace
from minproto.core import Event, LocalProtocolError, RemoteProtocolError
from minproto.http import Data, EndOfMessage, Headers, ResponseHead
from minproto.http1 import BODY, HEAD, Connection

MAX_DISCARD = 262_144
"""The maximum number of bytes of unread content that we read and drop in order to keep the connection. Reading 256 KiB costs
about as much as a new connection."""


class RequestContent:
    """The content side of a connection, as each ``Request`` sees it: an ``Exchange`` (see ``http.py``)."""

    __slots__ = ("_core", "_end", "_endpoint", "_pace", "_request", "_waiting", "expected_fault")

    def __init__(self, core: Connection, endpoint: Endpoint) -> None:
        self._core = core
        self._endpoint = endpoint
        self._pace = UploadPace(endpoint.timeouts.min_body_rate)
        self._request: Request | None = None  # the request whose content is read; None while we drop the rest
        self._waiting = False  # a task is waiting for more bytes
        self._end: Event | None = None  # the end of the content, if it has arrived and the app has not read it
        self.expected_fault: RemoteProtocolError | None = None
        """A fault that is not logged: it has been logged already, or the status in the access log is enough."""

    def begin(self, request: Request) -> None:
        """Begin with the content of another request. Everything counted per request starts at 0."""
        self._request, self._end = request, None
        self._pace.begin()

    async def receive_content(self) -> Data | EndOfMessage:
        r"""Wait for the next piece of content, or its end. Raises RemoteProtocolError (400, 408, 413) or ConnectionError.

        All content that has arrived is joined into one piece, and checked first. For example, a good chunk and a malformed
        chunk have arrived together. An app that saw only the good chunk might answer with a 200, although the request is
        malformed. So the error for the malformed chunk is raised now:

            5\r\nhello\r\nx\r\n        Data(b"hello") alone would hide the 400
        """
        core = self._core
        event, self._end = self._end or core.next_event(), None
        while event is None:
            if core.expects_continue:
                self._endpoint.send(ResponseHead(100, Headers()))
            await self._wait()
            event = core.next_event()
        pieces = []
        while isinstance(event, Data):
            pieces.append(event.data)
            event = core.next_event()
        if event is not None:  # no further wait: an idle connection must not hold the memory of a request that is over
            self._request = None
        if pieces:
            self._end = event
            return Data(b"".join(pieces))
        assert isinstance(event, EndOfMessage)
        return event

    def fail(self, error: RemoteProtocolError) -> None:
        """Refuse the content for the app, for example because it is too large (413).

        Such a fault is not the client's, so it becomes the ``expected_fault``, and is not logged.
        """
        self.expected_fault = error
        self._core.fail(error)

    async def inform(self, status: int, headers: Headers) -> None:
        """Send an interim response. Raises LocalProtocolError if the response has begun, and ConnectionError."""
        if self._endpoint.lost:
            raise ConnectionResetError("the client is gone")
        if self._core.response is not HEAD:
            raise LocalProtocolError(LATE)
        self._endpoint.send(ResponseHead(status, headers))
        if self._endpoint.congested:
            await self._endpoint.flush()

    def abort(self) -> None:
        """End the connection with a reset. The HTTP connection, which watches the pipe, then takes the client for lost."""
        self._endpoint.lost = True
        self._endpoint.abort()

    async def discard(self) -> bool:
        """Read and drop the content that the app did not read. If there is too much, return False: the connection must end."""
        self._request = None
        if self._waiting:  # a task that the app has left running is still waiting: its wait ends before ours begins
            self._waiting = False
            self._endpoint.interrupt()
            await asyncio.sleep(0)
        limit = self._endpoint.received + MAX_DISCARD
        while self._core.request is BODY:
            if self._endpoint.received > limit:
                return False
            if self._core.next_event() is None:
                await self._wait()
        return True

    # -- waiting

    async def _wait(self) -> None:
        """Wait for more bytes, as long as the client keeps to the minimum rate. Raises RemoteProtocolError (408)."""
        if self._waiting:
            raise RuntimeError("another task waits for the request's content")
        self._waiting = True
        try:
            while not await self._receive_within(self._timeout()):
                """The limit has changed meanwhile, because the response has begun, say. The next wait has the new limit."""
        finally:
            self._waiting = False

    def _timeout(self) -> float | None:
        """Return the seconds that the next piece may take; None: no limit.

            the response has not begun            Request.body_timeout, at first Timeouts.body
            the response has begun                None: client and app are in a conversation
            the response is complete              Timeouts.body, while we drop the rest of the content
        """
        if self._request is None:  # we are dropping the rest
            return self._endpoint.timeouts.body
        return None if self._core.response is BODY else self._request.body_timeout

    async def _receive_within(self, seconds: float | None) -> bool:
        """Wait for more bytes; a piece may take ``seconds``. Return False if that limit has changed meanwhile."""
        pace = self._pace
        try:
            with pace.waiting(seconds) as patience:
                pace.received += await self._endpoint.receive(math.inf if patience is None else patience)
            return True
        except TimeoutError:
            if not self._waiting:  # ``discard`` has ended this wait
                raise ConnectionError("the exchange is over") from None
        if self._timeout() != seconds:
            return False
        if self._request is not None:
            pace.log(self._request.head)
        error = RemoteProtocolError("the request's body took too long", 408)
        self.fail(error)
        raise error
