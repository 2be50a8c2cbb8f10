"""Reference answer to websocket/6: the closing handshake. Two facts are the whole state."""

MAX_CONTROL = 125


class Closing:
    """One end of a WebSocket, as far as its end is concerned."""

    def __init__(self) -> None:
        self.sent = False
        self.received = False

    @property
    def can_send(self) -> bool:
        """Whether a message may be sent."""
        return not self.sent

    @property
    def done(self) -> bool:
        """Whether both have sent a Close."""
        return self.sent and self.received

    def close(self, code: int, reason: str) -> bytes:
        """Return the payload of our Close. Raises ValueError."""
        payload = code.to_bytes(2, "big") + reason.encode()
        if self.sent or not may_be_sent(code) or len(payload) > MAX_CONTROL:
            raise ValueError("a second Close, a wrong code, or too long")
        self.sent = True
        return payload

    def receive(self, payload: bytes) -> bytes | None:
        """Take the peer's Close, and return the payload of our answer; None if we have sent a Close. Raises ValueError."""
        if self.received or len(payload) == 1 or (payload and not may_be_sent(int.from_bytes(payload[:2], "big"))):
            raise ValueError("a second Close, or a wrong code")
        payload[2:].decode()
        answer = None if self.sent else payload[:2]
        self.received = self.sent = True
        return answer


def may_be_sent(code: int) -> bool:
    """Return whether a Close may have this code."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999
