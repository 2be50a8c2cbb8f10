"""The cases of ``minproto prove``, a file for each protocol or part of one."""

from minproto.prove.cases import http1_framing, http2_frames, resp, sse, websocket_frames

CASES = (
    *http1_framing.CASES,
    *http2_frames.CASES,
    *websocket_frames.CASES,
    *sse.CASES,
    *resp.CASES,
)
"""All cases, in the order in which they are reported."""
