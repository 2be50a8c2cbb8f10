r"""TLS, explained as far as it is in the clear: the records, and the first message of each side (RFC 8446).

    16 03 01 02 00     record: handshake, 512 bytes          (§5.1)
    01 00 01 fc        ClientHello, 508 bytes                (§4.1.2)
    ...                random, cipher suites, and extensions: the server's name, ALPN, versions, groups

Both sides choose everything from these two messages: the version of TLS, the cipher, the group for the key exchange, and by
ALPN the protocol inside, such as "h2". The server's name (SNI) is in the ClientHello in the clear, so everybody on the network
path can read which host a client asks for. After the ServerHello of TLS 1.3, everything is encrypted. Such a record shows only
its length; its type always says "application data" (§5.2).

A message may be cut into several records, and a record may have several messages. Here a hello has to be in one record,
which nearly every client and server does. A hello that is longer is shown as bytes.
"""

from collections.abc import Callable

from minproto.core import CLIENT
from minproto.explain.rows import MAX_PIECE, Script, Side, counted, readable
from minproto.explain.tls_names import ALERTS, CIPHERS, CONTENT_TYPES, EXTENSIONS, GROUPS, HANDSHAKES, SIGNATURES, VERSIONS

HANDSHAKE, ALERT, APPLICATION_DATA = 22, 21, 23
CLIENT_HELLO, SERVER_HELLO = 1, 2
SERVER_NAME, SUPPORTED_GROUPS, SIGNATURE_ALGORITHMS, ALPN, SUPPORTED_VERSIONS, KEY_SHARE = 0, 10, 13, 16, 43, 51
MAX_RECORD = 16_384 + 256
"""The maximum number of bytes of a record: 2^14 of content, and what encryption may add (§5.2)."""
RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""The random of a ServerHello that is a HelloRetryRequest (§4.1.3)."""


class _CutShortError(Exception):
    """A length inside a hello is longer than what is left of the message."""


class _Message:
    """Reads a hello field by field, and adds each field to the row."""

    def __init__(self, side: Side, data: bytes) -> None:
        self._side = side
        self.rest = data

    def take(self, count: int) -> bytes:
        """Remove bytes from the message. Raises _CutShortError if there are too few."""
        if len(self.rest) < count:
            raise _CutShortError
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def add(self, name: str, count: int, value: Callable[[bytes], str], meaning: str, section: str) -> bytes:
        """Add a field of ``count`` bytes, and return its bytes."""
        raw = self.take(count)
        self._side.add(name, raw, value(raw), meaning, section)
        return raw

    def add_list(self, name: str, size: int, value: Callable[[bytes], str], meaning: str, section: str) -> None:
        """Add a field that begins with its own length, a number of ``size`` bytes."""
        if len(self.rest) < size:
            raise _CutShortError
        length = int.from_bytes(self.rest[:size])
        self.add(name, size + length, lambda raw: value(raw[size:]), meaning, section)


def explain_records(side: Side) -> Script[None]:
    """The script of one side: records, one after the other (§5.1)."""
    side.protocol = "TLS"
    hello_comes = True
    while True:
        side.begin("record")
        yield from side.need(5)
        first = side.buffer.peek(0, 5)
        kind, length = first[0], int.from_bytes(first[3:])
        if kind not in CONTENT_TYPES or first[1] != 3 or length > MAX_RECORD:
            yield from _not_a_record(side)
        side.title = CONTENT_TYPES[kind]
        side.add("content type", side.take(1), str(kind), CONTENT_TYPES[kind], "RFC 8446 §5.1")
        side.add("legacy version", side.take(2), VERSIONS.get(int.from_bytes(first[1:3]), "unknown"), _LEGACY, "RFC 8446 §5.1")
        side.add("length", side.take(2), str(length), "bytes of the record that follow", "RFC 8446 §5.1")
        yield from side.need(length)
        if kind == HANDSHAKE and hello_comes and length:
            hello_comes = False
            _add_hello(side, side.take(length))
        elif kind == ALERT and length == 2:
            _add_alert(side, side.take(2))
        else:
            yield from side.pieces(length, _sealed(side) if kind == APPLICATION_DATA else _bare(side))
        yield side.row()


_LEGACY = "the version of the record layer; it stays 3.1 or 3.3 whatever is spoken, since old middleboxes expect that"


def _sealed(side: Side) -> Callable[[bytes], None]:
    meaning = "encrypted: only the two ends can read it"
    return lambda data: side.add("content", data, data.hex(" "), meaning, "RFC 8446 §5.2")


def _bare(side: Side) -> Callable[[bytes], None]:
    return lambda data: side.add("content", data, data.hex(" "), "not explained here", "RFC 8446 §5.1")


def _not_a_record(side: Side) -> Script[None]:
    """Show all further bytes without an explanation: they are not a record, so there is no way to know where the next one
    begins."""
    side.error = "this is not a TLS record"
    while True:
        data = side.take(min(side.buffer.size, MAX_PIECE))
        side.add("data", data, readable(data), "as it came", "")
        yield side.row()
        side.begin("bytes after data that is not a TLS record")
        yield from side.need(1)


def _add_alert(side: Side, data: bytes) -> None:
    level, description = data
    side.title = f"alert: {ALERTS.get(description, str(description))}"
    side.add("level", data[:1], str(level), {1: "warning", 2: "fatal"}.get(level, "unknown"), "RFC 8446 §6")
    side.add("description", data[1:], str(description), ALERTS.get(description, "unknown"), "RFC 8446 §6")


def _add_hello(side: Side, data: bytes) -> None:
    """Add the fields of the first record of a handshake. If the record is not one whole hello, add the rest as bytes."""
    message = _Message(side, data)
    kind = data[0] if data else None
    expected = CLIENT_HELLO if side.sender is CLIENT else SERVER_HELLO
    try:
        if kind == expected:
            message.add("handshake type", 1, lambda raw: str(raw[0]), HANDSHAKES[expected], "RFC 8446 §4")
            message.add("length", 3, lambda raw: str(int.from_bytes(raw)), "bytes of the message", "RFC 8446 §4")
            _add_client_hello(side, message) if expected == CLIENT_HELLO else _add_server_hello(side, message)
    except _CutShortError:
        side.error = "a length that is longer than this record: the hello is broken, or goes on in the next record"
    if message.rest:
        side.add("more of the handshake", message.rest, message.rest.hex(" "), "not explained here", "RFC 8446 §4")


def _add_client_hello(side: Side, message: _Message) -> None:
    """ClientHello (§4.1.2): what the client can do."""
    side.title = "ClientHello"
    message.add("legacy version", 2, _version, "TLS 1.3 is chosen by supported_versions", "RFC 8446 §4.1.2")
    message.add("random", 32, bytes.hex, "new for each connection, so that no handshake can be replayed", "RFC 8446 §4.1.2")
    message.add_list("legacy session id", 1, bytes.hex, "echoed by the server, as TLS 1.2 did", "RFC 8446 §4.1.2")
    message.add_list("cipher suites", 2, _named(CIPHERS), "in the client's order of preference", "RFC 8446 §4.1.2")
    message.add_list("legacy compression", 1, bytes.hex, "none: length would reveal secrets", "RFC 8446 §4.1.2")
    _add_extensions(side, message)


def _add_server_hello(side: Side, message: _Message) -> None:
    """ServerHello (§4.1.3): what the server has chosen among the client's offers."""
    retry = message.rest[2:34] == RETRY
    side.title = "HelloRetryRequest" if retry else "ServerHello"
    message.add("legacy version", 2, _version, "TLS 1.3 is chosen by supported_versions", "RFC 8446 §4.1.3")
    meaning = "this fixed value means: send another ClientHello" if retry else "the server's part"
    message.add("random", 32, bytes.hex, meaning, "RFC 8446 §4.1.3")
    message.add_list("legacy session id", 1, bytes.hex, "the client's, echoed", "RFC 8446 §4.1.3")
    message.add("cipher suite", 2, _named(CIPHERS), "the cipher that both will use", "RFC 8446 §4.1.3")
    message.add("legacy compression", 1, bytes.hex, "none", "RFC 8446 §4.1.3")
    _add_extensions(side, message)


def _add_extensions(side: Side, message: _Message) -> None:
    """The extensions (§4.2): a length, and then for each its type, its length and its data."""
    length = int.from_bytes(message.add("extensions", 2, lambda raw: str(int.from_bytes(raw)), "bytes", "RFC 8446 §4.2"))
    end = len(message.rest) - length
    while len(message.rest) > max(end, 0):
        kind, size = int.from_bytes(message.rest[:2]), int.from_bytes(message.rest[2:4])
        name, meaning = EXTENSIONS.get(kind, (f"extension {kind}", "not explained here"))
        show = _EXTENSIONS.get(kind, bytes.hex) if side.sender is CLIENT else _CHOSEN.get(kind, bytes.hex)
        raw = message.add(name, 4 + size, lambda raw, show=show: show(raw[4:]), meaning, "RFC 8446 §4.2")  # type: ignore[misc]
        if kind == SERVER_NAME and side.sender is CLIENT:
            side.title = f"ClientHello to {_server_name(raw[4:])}"


# ---- values ------------------------------------------------------------------------------------------------------------


def _version(raw: bytes) -> str:
    return VERSIONS.get(int.from_bytes(raw), raw.hex())


def _numbers(raw: bytes) -> list[int]:
    return [int.from_bytes(raw[at : at + 2]) for at in range(0, len(raw), 2)]


def _named(names: dict[int, str]) -> Callable[[bytes], str]:
    """Return a function that shows numbers of two bytes by their names; a number without a name, in hexadecimal."""

    def show(raw: bytes) -> str:
        return ", ".join(names.get(number, "GREASE" if _is_grease(number) else f"0x{number:04x}") for number in _numbers(raw))

    return show


def _is_grease(number: int) -> bool:
    """Return whether a number is reserved: a client sends one so that servers stay used to unknown values (RFC 8701 §2)."""
    return number & 0x0F0F == 0x0A0A and number >> 8 == number & 0xFF


def _server_name(raw: bytes) -> str:
    """A list of one name: the list's length (2 bytes), the type 0, the name's length (2 bytes), the name (RFC 6066 §3)."""
    return readable(raw[5:])


def _alpn(raw: bytes) -> str:
    """A list of protocol names, each preceded by its length in one byte (RFC 7301 §3.1)."""
    names, rest = [], raw[2:]
    while rest:
        names.append(readable(rest[1 : 1 + rest[0]]))
        rest = rest[1 + rest[0] :]
    return ", ".join(names)


def _key_shares(raw: bytes) -> str:
    """A list of public keys, each preceded by its group and its length (§4.2.8)."""
    shares, rest = [], raw[2:]
    while len(rest) >= 4:
        length = int.from_bytes(rest[2:4])
        shares.append(_key_share(rest))
        rest = rest[4 + length :]
    return ", ".join(shares)


def _key_share(raw: bytes) -> str:
    group = _named(GROUPS)(raw[:2])
    return f"{group} ({counted(int.from_bytes(raw[2:4]), 'byte')})" if len(raw) > 2 else group


_EXTENSIONS: dict[int, Callable[[bytes], str]] = {
    SERVER_NAME: _server_name,
    SUPPORTED_GROUPS: lambda raw: _named(GROUPS)(raw[2:]),
    SIGNATURE_ALGORITHMS: lambda raw: _named(SIGNATURES)(raw[2:]),
    ALPN: _alpn,
    SUPPORTED_VERSIONS: lambda raw: _named(VERSIONS)(raw[1:]),
    KEY_SHARE: _key_shares,
}
"""The type of an extension of the client -> a function that shows its data."""
_CHOSEN: dict[int, Callable[[bytes], str]] = {ALPN: _alpn, SUPPORTED_VERSIONS: _named(VERSIONS), KEY_SHARE: _key_share}
"""The type of an extension of the server, which has only what it chose -> a function that shows its data."""
