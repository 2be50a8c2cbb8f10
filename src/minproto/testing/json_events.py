r"""Events as JSON, and JSON as events: how a program in any language reports what it has read.

    RequestHead("GET", "/", [("host", "a")])    {"type": "RequestHead", "method": "GET", "target": "/",
                                                 "headers": [["host", "a"]], "version": "1.1"}
    Data(b"abc")                                {"type": "Data", "data": "616263"}
    Message("hello")                            {"type": "Message", "text": "hello"}

An event is an object. Its ``type`` is the name of our class, and its other keys are the fields of that class, under three
rules. Bytes are hexadecimal digits, since JSON has no bytes. A field that says 0, "" or nothing in every event of the protocol
(``stream`` in HTTP/1.1, for example) is left out. The text of a WebSocket message is ``text``, its bytes are ``data``.
``docs/laws.md`` lists the events of each protocol.

A RESP value may have any type, and JSON has too few types. So each value that is not null, true, false or a list is an
object with a ``type``, too: see ``_VALUES``.
"""

import json
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from typing import Any

from minproto.core import Event
from minproto.http import Data

Object = dict[str, Any]

_LEFT_OUT = {"stream": 0, "protocol": "", "scheme": "", "status": 0, "head": None, "reason": None}
"""Fields of our events that are left out of the JSON if they have this value. ``reason``: see ``to_json``."""


@dataclass(slots=True, repr=False)
class Told(Event):
    """An event that a program reports. Two such events are equal if their JSON is equal, in any order of the keys."""

    content: Object = field(default_factory=dict)

    def __repr__(self) -> str:
        rest = {key: value for key, value in self.content.items() if key != "type"}
        return f"{self.content['type']} {json.dumps(rest, ensure_ascii=False)}"


def told(content: Object) -> Event:
    """Return the event for an object of JSON. Raises ValueError if it has no type, or is a Data without bytes.

    A Data becomes ours, so that the laws can join pieces of content: a network may cut content anywhere."""
    if not isinstance(content, dict) or not isinstance(content.get("type"), str) or not content["type"]:
        raise ValueError(f'an event is an object with a "type", not {json.dumps(content)[:80]}')
    if content["type"] != "Data":
        return Told(content)
    data = content.get("data")
    stream = content.get("stream", 0)
    if not isinstance(data, str) or not isinstance(stream, int):
        raise ValueError(f'the "data" of a Data is a string of hexadecimal digits, not {json.dumps(data)[:80]}')
    try:
        return Data(bytes.fromhex(data), stream)
    except ValueError:
        raise ValueError(f'the "data" of a Data is a string of hexadecimal digits, not {json.dumps(data)[:80]}') from None


def to_json(event: Any) -> Object:
    """Return a dataclass as an object of JSON."""
    found: Object = {"type": type(event).__name__}
    for each in fields(event):
        value = getattr(event, each.name)
        if not each.compare or (each.name in _LEFT_OUT and value == _LEFT_OUT[each.name]):
            continue
        found["text" if isinstance(value, str) and found["type"] == "Message" else each.name] = _value(value)
    if found["type"] == "StreamFault":  # a reason is for people, and the head is a part of the reason
        found = {key: found[key] for key in ("type", "stream", "code")}
    if found["type"] == "Reply":
        found["value"] = resp_value(event.value)
    return {"type": "Push", "items": resp_value(event.items)} if found["type"] == "Push" else found


def _value(value: Any) -> Any:
    """Return a field's value as JSON."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, Enum):
        return value.name
    if is_dataclass(value) and not isinstance(value, type):
        return to_json(value)
    if isinstance(value, list | tuple):
        return [_value(each) for each in value]
    if isinstance(value, dict):
        return {str(key): _value(each) for key, each in value.items()}
    return value


_VALUES: dict[str, Callable[[Any], Object]] = {
    "bytes": lambda value: {"type": "Bulk", "data": value.hex()},
    "int": lambda value: {"type": "Integer", "value": str(value)},  # a number in JavaScript has only 53 bits
    "float": lambda value: {"type": "Double", "value": "nan" if math.isnan(value) else struct.pack(">d", value).hex()},
    "Simple": lambda value: {"type": "Simple", "text": value.text},
    "Error": lambda value: {"type": "Error", "text": value.text},
    "NullArray": lambda value: {"type": "NullArray"},
    "Verbatim": lambda value: {"type": "Verbatim", "kind": value.kind, "data": value.data.hex()},
    "Map": lambda value: {"type": "Map", "pairs": [[resp_value(key), resp_value(each)] for key, each in value.pairs]},
    "Set": lambda value: {"type": "Set", "items": resp_value(value.items)},
}
"""The type of a RESP value -> the value as JSON. A Double is given as its eight bytes in network order, or as "nan"."""


def resp_value(value: Any) -> Any:
    """Return a RESP value as JSON."""
    if isinstance(value, list):
        return [resp_value(each) for each in value]
    return value if value is None or isinstance(value, bool) else _VALUES[type(value).__name__](value)


def as_told(event: Any) -> Any:
    """Return an event as a program would tell it, so that events of two implementations can be compared.

    An event that is not a dataclass stays as it is: there is no other event to compare it with."""
    if isinstance(event, Told | Data) or not is_dataclass(event) or isinstance(event, type):
        return event
    if type(event).__name__ == "Data":
        return Data(bytes(getattr(event, "data", b"")), getattr(event, "stream", 0))
    return Told(to_json(event))
