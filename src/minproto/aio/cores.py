"""Which cores and which pipe the shells use: the fast ones, or the plain ones if ``MINPROTO_PLAIN=1`` is set.

No code can be both as fast and as plain as possible, so most cores exist twice. Read the plain core, and step through it with
a debugger. Its fast twin is a subclass in ``minproto.fast`` that replaces single methods. Both yield the same events and the
same bytes, call for call: law 13 of the tests drives both in lockstep.

    websocket.py (shell)         core = chosen(minproto.websocket.Connection)(role, ...)
                                          |
                       MINPROTO_PLAIN=1   |   else
                 minproto.websocket.Connection   minproto.fast.websocket.Connection

The shells make every core and every pipe this way, so that the rest of the program does not have to know which class it got.
``minproto serve --plain`` sets the variable. ``chosen`` reads the variable at each call, so a test can run both twins in one
process.

This is the only file that imports ``minproto.fast``: a reader who never opens that package misses no rule of any protocol.
"""

import os
from typing import Any, TypeVar, cast

import minproto.aio.pipe
import minproto.aio.pipe_fast
import minproto.broker
import minproto.fast.broker
import minproto.fast.http1
import minproto.fast.http2
import minproto.fast.resp
import minproto.fast.websocket
import minproto.http1
import minproto.http2
import minproto.resp
import minproto.websocket

T = TypeVar("T")

FAST: dict[type[Any], type[Any]] = {
    minproto.broker.Broker: minproto.fast.broker.Broker,
    minproto.resp.Connection: minproto.fast.resp.Connection,
    minproto.http2.Connection: minproto.fast.http2.Connection,
    minproto.http1.Connection: minproto.fast.http1.Connection,
    minproto.aio.pipe.StreamPipe: minproto.aio.pipe_fast.ProtocolPipe,
    minproto.websocket.Connection: minproto.fast.websocket.Connection,
}
"""Plain class -> fast class. A core that is not in this table has no fast twin: the plain core is fast enough."""


def chosen(plain: type[T]) -> type[T]:
    """Return the class to instantiate: the fast twin of ``plain``.

    Return ``plain`` itself if it has no twin, or if ``MINPROTO_PLAIN=1`` is set.
    """
    if os.environ.get("MINPROTO_PLAIN") == "1":
        return plain
    return cast(type[T], FAST.get(plain, plain))
