"""Someone else's implementation under our laws: h11, the well-known HTTP/1.1 library, adapted to the contract of a core.

It prints:

    garbage: holds
    any_cutting: holds
    sticky_failure: holds
    bounded: holds
    end_of_input: holds
"""

import h11

from minproto.core import Core, Event, RemoteProtocolError, Wants
from minproto.http import Data, EndOfMessage, Headers, RequestHead
from minproto.testing import Subject, check_law
from minproto.testing.laws import RECEIVING_LAWS
from minproto.testing.strategies import request_streams

LIMIT = 1024


class H11Server(Core):
    """An adapter: h11's events become our events, and its sentinels become ``wants``."""

    def __init__(self) -> None:
        super().__init__(LIMIT)
        self.h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=LIMIT)

    @property
    def buffered(self) -> int:
        return len(self.h11.trailing_data[0])

    def receive_data(self, data: bytes) -> None:
        if data:  # h11 takes an empty chunk for the end of input
            self.h11.receive_data(data)

    def receive_eof(self) -> None:
        self.h11.receive_data(b"")

    def _parse(self) -> Event | None:
        try:
            event = self.h11.next_event()
        except h11.RemoteProtocolError as error:
            # h11 describes one fault in several ways, depending on the cuts. So law 2 compares only the status.
            raise RemoteProtocolError("refused", error.error_status_hint) from error
        match event:
            case h11.Request():
                headers = Headers((name.decode(), value.decode("latin-1")) for name, value in event.headers)
                return RequestHead(event.method.decode(), event.target.decode("latin-1"), headers)
            case h11.Data():
                return Data(bytes(event.data))
            case h11.EndOfMessage():
                return EndOfMessage()
        wants = {h11.NEED_DATA: Wants.DATA, h11.PAUSED: Wants.PAUSED}
        self.wants = wants[event] if isinstance(event, type) and event in wants else Wants.CLOSED
        return None


def answer(server: H11Server, event: Event) -> None:
    if isinstance(event, EndOfMessage):
        server.h11.send(h11.Response(status_code=404, headers=[("content-length", "0")]))
        server.h11.send(h11.EndOfMessage())
        if server.h11.our_state is h11.DONE:
            server.h11.start_next_cycle()


for law in RECEIVING_LAWS:
    check_law(law, Subject(H11Server, request_streams, LIMIT, answer), examples=30)
    print(f"{law.__name__}: holds")
