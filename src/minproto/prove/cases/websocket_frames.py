"""WebSocket: frames and messages (RFC 6455 §5)."""

from minproto.prove.case import Case

CASES = (
    Case(
        "websocket/frames/not-masked", "6455-5.1-client-masks", (bytes.fromhex("810548656c6c6f"),),
        right="close=1002 closed", acceptable=r"(close=\d+ )?(closed|reset)",
    ),
)  # fmt: skip
