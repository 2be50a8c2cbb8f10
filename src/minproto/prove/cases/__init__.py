"""The cases of ``minproto prove``, a file for each protocol or part of one."""

from minproto.prove.cases import (
    http1_chunks,
    http1_connection,
    http1_framing,
    http1_head,
    http1_hostile,
    http1_limits,
    http1_semantics,
    http1_target,
    http2_frames,
    resp,
    sse,
    websocket_control,
    websocket_deflate,
    websocket_frames,
    websocket_handshake,
    websocket_hardening,
    websocket_http2,
    websocket_messages,
)

CASES = (
    *http1_head.CASES,
    *http1_target.CASES,
    *http1_framing.CASES,
    *http1_chunks.CASES,
    *http1_connection.CASES,
    *http1_semantics.CASES,
    *http1_limits.CASES,
    *http1_hostile.CASES,
    *http2_frames.CASES,
    *websocket_handshake.CASES,
    *websocket_frames.CASES,
    *websocket_messages.CASES,
    *websocket_control.CASES,
    *websocket_deflate.CASES,
    *websocket_http2.CASES,
    *websocket_hardening.CASES,
    *sse.CASES,
    *resp.CASES,
)
"""All cases, in the order in which they are reported."""
