"""One of our own cores as a program: `python core.py STREAM` reads lines of JSON, as docs/laws.md describes."""

import json
import sys
from dataclasses import replace

from minproto import http1, http2, resp, sse, websocket
from minproto.core import SERVER, RemoteProtocolError, Role
from minproto.http2_frames import HEADER_SIZE, MAX_FRAME
from minproto.testing import subjects
from minproto.testing.json_events import to_json
from minproto.testing.streams import STREAMS, _AnyMethod

MAKE = {
    "http1-request": lambda role, limit: replace(
        STREAMS["http1-request"].reader().reference,
        make=lambda: http1.Connection(SERVER, http1.Limits(limit, limit, limit, 1 << 60, limit, limit), _AnyMethod()),
    ),
    "http1-response": lambda role, limit: subjects.http1_client(
        limits=http1.Limits(limit, limit, limit, 1 << 60, limit, limit)
    ),
    "websocket": lambda role, limit: subjects.websocket_end(role, limits=websocket.Limits(limit - 139, limit)),
    "sse": lambda role, limit: subjects.sse_client(sse.Limits(limit)),
    "resp": lambda role, limit: subjects.resp_end(role, resp.Limits(limit // 2, limit // 2, limit, 100, limit // 2)),
    "http2": lambda role, limit: subjects.http2_end(
        role, replace(http2.Limits(), max_block=max(1, limit - HEADER_SIZE - MAX_FRAME))
    ),
}

core = subject = None
for line in sys.stdin:
    op = json.loads(line)
    error, events = None, []
    try:
        if op["op"] == "new":
            subject = MAKE[sys.argv[1]](Role(op["role"]), op["limit"])
            core = subject.make()
        elif core.wants.value != "closed":
            core.receive_eof() if op["op"] == "eof" else core.receive_data(bytes.fromhex(op["hex"]))
        for event in core.events():
            events.append(to_json(event))
            subject.answer(core, event)
    except RemoteProtocolError as fault:
        error = str(fault)
    print(json.dumps({"events": events, "error": error, "wants": core.wants.value, "buffered": core.buffered}), flush=True)
