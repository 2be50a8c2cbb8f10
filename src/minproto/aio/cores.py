"""Which cores the shells use: the fast ones, or the plain ones where the environment says ``MINPROTO_PLAIN=1``.

Every shell makes its core by ``chosen(Connection)(...)``. The plain cores are the ones to read, and to step through with a
debugger; ``minproto --plain`` runs a server on them. Both give the same events and bytes (law 13).
"""

import os
from typing import Any, TypeVar, cast

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
    minproto.websocket.Connection: minproto.fast.websocket.Connection,
}
"""Plain class -> fast class. A core that is not in here has no fast twin."""


def chosen(plain: type[T]) -> type[T]:
    """Return the class to make a core of: the fast twin of ``plain``, unless it has none or the plain one is asked for."""
    if os.environ.get("MINPROTO_PLAIN") == "1":
        return plain
    return cast(type[T], FAST.get(plain, plain))
