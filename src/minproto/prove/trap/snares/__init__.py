"""The snares of ``minproto trap``, a file for each protocol or part of one."""

from minproto.prove.trap.snares import http1_framing, http1_heads, http2, sse, websocket
from minproto.prove.trap.snares.controls import CONTROLS

SNARES = (
    *http1_framing.SNARES,
    *http1_heads.SNARES,
    *http2.SNARES,
    *websocket.SNARES,
    *sse.SNARES,
)
"""All snares, in the order in which they are listed."""

__all__ = ["CONTROLS", "SNARES"]
