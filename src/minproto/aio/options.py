"""Checks for the options that users set: a wrong option is refused when it is given, not when the first client connects.

    >>> check_text("url", None)
    Traceback (most recent call last):
    TypeError: url has to be str, not None

Every check raises TypeError for a value of a wrong type, or ValueError for a value out of range. The error is one line with
the name of the option, what it has to be, and the value. Why so much care? Without a check, a server with
``Timeouts(idle="75")`` would start, and fail in the middle of its first connection, with a TypeError that names no option.

    Server(app, prot=8000)                configure: "there is no option prot: did you mean port?"
      Config(...).__post_init__           check_type, check_tls, check_count, ...: each field
        Timeouts(...).__post_init__       check_seconds: each field
        Limits(...)                       only counts, which check themselves (minproto.core.check_counts)
"""

import asyncio
import inspect
import ssl as tls
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, NoReturn, TypeVar

LONGEST = 100
"""The maximum number of characters of a value that an error shows: a whole certificate in a log helps nobody."""

T = TypeVar("T")


def configure(kind: Callable[..., T], options: Mapping[str, object]) -> T:
    """Make a dataclass of options. Raises TypeError, which names the nearest option, for an option that it does not have."""
    known = [option.name for option in fields(kind)]  # type: ignore[arg-type]
    for name in options:  # Python would say no more than "unexpected keyword argument"
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"the options are {', '.join(known)}"
            raise TypeError(f"there is no option {name}: {hint}")
    return kind(**options)


def check_loop(loop: asyncio.AbstractEventLoop, instead: str) -> None:
    """Raise RuntimeError if ``loop`` runs in a different thread from the caller's. ``instead``: the call to make in that case.

    Objects of an event loop have no locks, and a call from another thread does not wake the loop: what the call has queued
    would wait until something else wakes the loop.
    """
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:  # this thread has no loop
        running = None
    if running is not loop and loop.is_running():
        raise RuntimeError(f"this belongs to the thread of its event loop: elsewhere call {instead}")


def refuse(name: str, wanted: str, value: object, error: type[Exception] = TypeError) -> NoReturn:
    """Raise the error for an option whose value is not what it has to be."""
    raise error(f"{name} has to be {wanted}, not {show(value)}")


def show(value: object) -> str:
    """Return a value as an error shows it: its ``repr``, shortened. For our own classes it shows the public names."""
    if inspect.isclass(value):
        return f"the class {public_name(value)}"
    text = repr(value)
    if type(value).__module__.startswith("minproto") and text.startswith(f"{type(value).__qualname__}("):
        text = f"{public_name(type(value))}{text[len(type(value).__qualname__):]}"  # we have several classes named Limits
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def public_name(kind: type) -> str:
    """Return the name by which a user imports a class: ``minproto.Http2Limits``. Several of our classes are named Limits."""
    import minproto  # not at the top of the file: minproto imports this module

    for name in minproto.__all__:
        if getattr(minproto, name) is kind:
            return f"minproto.{name}"
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def check_type(name: str, value: object, kind: type, *, or_none: bool = False) -> None:
    """Check that a value is an instance of the class ``kind``, or None if ``or_none`` is true.

    A common mistake is a class instead of an object: ``timeouts=Timeouts``. The error says "the class minproto.Timeouts".
    """
    if not (isinstance(value, kind) or (or_none and value is None)):
        refuse(name, f"{public_name(kind)}{' or None' if or_none else ''}", value)


def check_text(name: str, value: object) -> None:
    """Check that a value is a str and not empty. An empty str often comes from an unset environment variable."""
    if not isinstance(value, str):
        refuse(name, "str", value)
    if not value:
        refuse(name, "a str that is not empty", value, ValueError)


def check_seconds(name: str, value: object, *, positive: bool = False) -> None:
    """Check that a value is a number of at least 0 (or above 0). ``math.inf`` is a number: no limit."""
    if not isinstance(value, int | float) or isinstance(value, bool):  # to Python a bool is an int
        refuse(name, "a number (math.inf for no limit)", value)
    if not (value > 0 or (value == 0 and not positive)):  # written so that NaN, which compares as false, is refused
        refuse(name, "above 0" if positive else "0 or more", value, ValueError)


def checked_timeout(name: str, seconds: float | None) -> float | None:
    """Return the seconds of a timeout, where None means no limit. Raises TypeError or ValueError for anything else."""
    if seconds is not None:
        check_seconds(name, seconds)
    return seconds


def check_function(name: str, value: object) -> None:
    """Check that a value is a function, but not a coroutine function: a callback is not awaited, so it would never run."""
    if not callable(value) or inspect.isclass(value):
        refuse(name, "a function", value)
    if inspect.iscoroutinefunction(value):
        refuse(name, "a plain function, since nobody awaits it", value)


def check_host(name: str, value: object) -> None:
    """Check that a value is a name or an address. To asyncio, "" and None mean all interfaces: a server meant
    for this machine alone would be open to the network."""
    if not isinstance(value, str):
        refuse(name, 'a name or an IP address (str), such as "127.0.0.1"', value)
    if not value:
        refuse(name, 'a name or an IP address (of a server, "0.0.0.0" and "::" are all that it has)', value, ValueError)
    if any(character in "/@?#" or character.isspace() for character in value):
        refuse(name, "a name or an IP address alone, and no URL", value, ValueError)


def check_secret(name: str, value: object) -> None:
    """Check that a value is a str and not empty, or None. The error does not show the value: it may be a password."""
    if not isinstance(value, str | None):
        raise TypeError(f"{name} has to be a str or None, not {type(value).__name__}")
    if value == "":
        raise ValueError(f"{name} has to be a str that is not empty; None is for no password")


def check_tls(name: str, value: object, *, server: bool) -> None:
    """Check that a value is None, or a TLS context for the right side. A server's context needs a certificate."""
    made_by = "minproto.tls_context(certificate, key)" if server else "ssl.create_default_context()"
    if not isinstance(value, tls.SSLContext | None):
        refuse(name, f"an ssl.SSLContext, as {made_by} makes it, or None", value)
    wrong = tls.PROTOCOL_TLS_CLIENT if server else tls.PROTOCOL_TLS_SERVER
    if value is not None and value.protocol == wrong:
        ours, theirs = ("server", "client") if server else ("client", "server")
        raise ValueError(f"{name} has to be a context for a {ours}, as {made_by} makes it, and this is one for a {theirs}")
    if value is not None and server and try_handshake(value) is None:
        raise ValueError(f"{name} has to be a context with a certificate, as {made_by} makes it, and this one has none")


def client_context(ssl: tls.SSLContext | None, scheme: str, secure: str) -> tls.SSLContext | None:
    """Return the TLS context for a client's URL: the user's context, or a default; None if the scheme is not ``secure``.

    So no request for an https resource goes out in clear text, even if the user gives no context (RFC 9110 §4.2.2). Raises
    ValueError for a context that would not be used: the user would believe that the connection has TLS.
    """
    if scheme == secure:
        return ssl or verifying_context()
    if ssl is not None:
        raise ValueError(f"ssl is for {secure}://")
    return None


def verifying_context() -> tls.SSLContext:
    """Return a client's context that accepts a server only if its certificate is valid for its host (RFC 9110 §4.3.4).

    Python's default context also accepts a certificate that has the host only as its *common name*, a line of free text. No
    authority has to check this text, so a client MUST NOT rely on it (RFC 9110 §4.3.4: CN-ID). A context of the user's own is
    used as it is: a client may be configured to identify its server in another way.
    """
    context = tls.create_default_context()
    context.hostname_checks_common_name = False
    return context


def try_handshake(context: tls.SSLContext) -> str | None:
    """Return the protocol that a server's context chooses through ALPN, after a client's first message, in memory.

    The result is "" if the context chooses no protocol, and None if it has no certificate to show. There is no other way to
    ask an SSLContext for its protocols or its certificate. A context that chooses its certificate by the name of the server is
    assumed to offer HTTP/2 and to have a certificate: its callback may not expect a client that names no server.
    """
    if context.sni_callback is not None:
        return "h2"
    client = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.set_alpn_protocols(["h2", "http/1.1"])
    to_server, to_client = tls.MemoryBIO(), tls.MemoryBIO()
    with suppress(tls.SSLWantReadError):
        client.wrap_bio(to_client, to_server).do_handshake()
    server = context.wrap_bio(to_server, to_client, server_side=True)
    try:
        server.do_handshake()
    except tls.SSLWantReadError:  # the server has answered, and now it would be the client's turn
        return server.selected_alpn_protocol() or ""
    except tls.SSLError as error:
        if error.reason == "NO_SHARED_CIPHER":
            return None
    return "h2"  # our own client may be at fault, so the context is assumed to be right


def check_common(limits: object, kind: type, timeouts: object, ssl: object = None) -> None:
    """Check the options that all our clients and WebSockets have. ``kind`` is the class of their limits."""
    check_tls("ssl", ssl, server=False)
    check_type("limits", limits, kind)
    check_type("timeouts", timeouts, Timeouts)


def check_elements(name: str, value: Any, check: Callable[[str, object], None]) -> None:
    """Check each element of a collection. A str is refused, although it is a collection: "GET" would be G, E and T."""
    if isinstance(value, str | bytes) or not isinstance(value, Collection):
        refuse(name, "a list", value)
    for element in value:
        check(f"each of {name}", element)


@dataclass(frozen=True)
class Timeouts:
    """How long we wait, in seconds, and for what. The clock stops while a slow app keeps us from reading.

    ``math.inf`` means no limit. 0 means no time at all: bytes that have not arrived yet are too late. A number after a colon,
    such as 408, is the status (in HTTP) or the close code (of a WebSocket) that the peer gets when the time is over. Raises
    TypeError for a value that is not a number (None included), ValueError for a negative number.
    """

    handshake: float = 10.0
    """For a TLS handshake, which is several round trips on a bad line; for our clients to connect, and to open a WebSocket."""
    head: float = 20.0
    """From the first byte of a request's head to its last: 408. This limit stops clients that hold a connection with a byte
    now and then. In HTTP/2 it applies to every frame; a frame with content has the time that ``min_body_rate`` allows, if
    longer."""
    body: float = 30.0
    """For the next piece of a body to arrive: 408."""
    min_body_rate: float = 500.0
    """Bytes a second, on average over the body, once ``body`` seconds have passed: 408. A trickle is a slow attack, too."""
    idle: float = 75.0
    """Between two messages, while nothing is received; then the connection is closed without an answer."""
    write: float = 30.0
    """For the peer to take 48 of the 64 KiB that are pending for it (some 1.6 KB/s); then the connection is cut off with a
    reset."""
    ping: float = 20.0
    """Without a byte from the peer of a WebSocket, until we send a Ping to ask whether the peer is still there."""
    pong: float = 20.0
    """For the peer to answer that Ping, to send anything else, or to read what was sent before the Ping: 1011."""
    close: float = 10.0
    """For the peer's Close to follow ours, once the peer has read what we sent before; then the connection is cut off."""
    last_words: float = 0.5
    """For the app to receive the next message that came before a Close, so that it can reply before we answer the Close."""
    linger: float = 2.0
    """For a peer to see our FIN and stop sending, before we close. Over TLS a quarter of this time without a byte is
    enough."""
    read_away: float = 30.0
    """For an upload that we have refused: we read and drop it as long as it has no gap of ``linger`` seconds. A client
    that is still sending has not read our answer, and a reset would destroy that answer. At most 64 MiB are read."""
    drain: float = 30.0
    """For requests in flight to finish when the server is stopping; then they are cut off."""

    def __post_init__(self) -> None:
        for option in fields(self):
            # A count of bytes is divided by the rate, so the rate can't be 0.
            check_seconds(option.name, getattr(self, option.name), positive=option.name == "min_body_rate")

    @property
    def first_idle(self) -> float:
        """How long a new connection may be silent. ``idle=0`` says that a connection is not kept *between* two messages, but
        its first message still needs time: as much as a head or a handshake has, whichever is longer."""
        return self.idle or max(self.head, self.handshake)
