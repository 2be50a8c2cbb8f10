"""Reference answer to http2/5: the states of a stream.

The five states are two questions, "may we send?" and "may the peer send?", and a beginning. A closed stream has to remember
``may_be_late``: whether we have reset it while the peer was still sending.
"""

FRAMES = ("HEADERS", "DATA", "RST_STREAM", "WINDOW_UPDATE")
ALWAYS = ("RST_STREAM", "WINDOW_UPDATE")
IDLE, OPEN, LOCAL, REMOTE, CLOSED = "idle", "open", "half-closed (local)", "half-closed (remote)", "closed"
AFTER_OUR_END = {OPEN: LOCAL, REMOTE: CLOSED}
AFTER_PEERS_END = {OPEN: REMOTE, LOCAL: CLOSED}


class Stream:
    """One stream, from the view of one end."""

    def __init__(self) -> None:
        self.state = IDLE
        self.may_be_late = False

    def send(self, frame: str, end: bool = False) -> str:
        """Return the state after we have sent a frame. Raises ValueError."""
        check(frame, end)
        if self.state == CLOSED or (self.state == LOCAL and frame not in ALWAYS):
            raise ValueError("we have ended")
        self._open(frame)
        self.may_be_late = frame == "RST_STREAM" and self.state != REMOTE
        self._move(frame, end, AFTER_OUR_END)
        return self.state

    def receive(self, frame: str, end: bool = False) -> str:
        """Return the state after the peer has sent a frame. Raises ValueError."""
        check(frame, end)
        if self.state == CLOSED and (self.may_be_late or frame in ALWAYS):
            return self.state
        if self.state == CLOSED or (self.state == REMOTE and frame not in ALWAYS):
            raise ValueError("the peer has ended")
        self._open(frame)
        self._move(frame, end, AFTER_PEERS_END)
        return self.state

    def _open(self, frame: str) -> None:
        if self.state == IDLE:
            if frame != "HEADERS":
                raise ValueError("a stream begins with HEADERS")
            self.state = OPEN

    def _move(self, frame: str, end: bool, after_end: dict[str, str]) -> None:
        if frame == "RST_STREAM":
            self.state = CLOSED
        elif end:
            self.state = after_end[self.state]


def check(frame: str, end: bool) -> None:
    """Raise ValueError for a frame that does not exist, or that has no such flag."""
    if frame not in FRAMES or (end and frame in ALWAYS):
        raise ValueError("no such frame")
