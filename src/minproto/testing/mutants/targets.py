"""Which tests a mutant is tried against.

A mutant of the catalogue breaks an entry of the ledger (``breaks``), and the entry names the tests that check it
(``checked``). A generated mutant breaks a line that nobody has looked at, so it is tried against all tests of its module.
"""

from minproto.prove.ledger import load
from minproto.testing.mutants import Mutant, MutantError

PROTOCOLS = {
    "HTTP/1.1": ("http", "http1", "http1_body"),
    "HTTP/2": (
        "http2", "http2_events", "http2_fields", "http2_flow", "http2_frames", "http2_reader", "http2_sending",
        "http2_settings", "http2_streams",
    ),
    "WebSocket": ("websocket", "websocket_handshake", "deflate"),
    "Server-Sent Events": ("sse",),
    "RESP and the broker": (
        "resp", "session", "commands", "client_commands", "command_docs", "pubsub_commands", "stream_commands",
        "group_commands", "groups", "log", "broker",
    ),
    "all protocols": ("buffer", "core"),
}  # fmt: skip
"""The plain cores, by protocol."""

_STANDARDS = {
    "9110": "HTTP/1.1", "9112": "HTTP/1.1", "9113": "HTTP/2", "7541": "HTTP/2", "9218": "HTTP/2", "8441": "HTTP/2",
    "6455": "WebSocket", "7692": "WebSocket", "sse": "Server-Sent Events", "resp": "RESP and the broker",
}  # fmt: skip
"""How the id of an entry begins, and the protocol. RFC 9110 applies to HTTP/2, too. Its mutants are listed with those of
HTTP/1.1."""

MODULES = tuple(module for modules in PROTOCOLS.values() for module in modules)

_SLOW = ("test_laws", "test_websocket_against_peers", "test_resp", "agreement", "against_h2", "test_broker_index", "attacks")
"""Files whose tests take seconds. They run after the others, because a run stops at the first test that fails."""

_HTTP1 = (
    "tests/test_http1.py", "tests/test_http_semantics.py", "tests/test_http1_against_h11.py", "tests/test_http1_agreement.py",
    "tests/test_laws.py -k -http1 ", "tests/aio/test_http1_server.py", "tests/aio/test_http1_client.py",
)  # fmt: skip
_HTTP2 = (
    "tests/test_http2_numbers.py", "tests/test_http2_streams.py", "tests/test_http2_conformance.py",
    "tests/test_http2_windows.py", "tests/test_http2_sending.py", "tests/test_http_semantics.py",
    "tests/test_http2_pace.py", "tests/test_http2_pair.py", "tests/test_http2_attacks.py", "tests/test_http2_against_h2.py",
    "tests/test_http2_agreement.py", "tests/test_laws.py -k -http2 ", "tests/aio/test_http2_server.py",
    "tests/aio/test_http2_client.py",
)  # fmt: skip
_WEBSOCKET = (
    "tests/test_websocket.py", "tests/test_websocket_against_peers.py", "tests/test_agreement.py -k websocket",
    "tests/test_laws.py -k -websocket ",
)  # fmt: skip
_RESP = (
    "tests/test_resp.py", "tests/test_commands.py", "tests/aio/test_resp_server.py", "tests/test_agreement.py -k resp",
    "tests/test_laws.py -k -resp ",
)  # fmt: skip
_STREAMS = ("tests/test_streams.py", "tests/test_groups.py", "tests/test_stream_commands.py")
_BROKER = (
    "tests/test_broker.py", "tests/test_commands.py", "tests/test_broker_agreement.py", "tests/test_broker_index.py",
    "tests/aio/test_resp_server.py",
)  # fmt: skip
_SSE = ("tests/test_sse.py", "tests/test_laws.py -k -sse ", "tests/aio/test_sse_client.py")

_TESTS = {
    "http": ("tests/test_core.py", "tests/aio/test_address.py", *_HTTP1, *_HTTP2, *_WEBSOCKET[:2]),
    "http1": _HTTP1,
    "http1_body": _HTTP1,
    **dict.fromkeys(PROTOCOLS["HTTP/2"], _HTTP2),
    "websocket": _WEBSOCKET,
    "websocket_handshake": ("tests/test_core.py", *_WEBSOCKET, "tests/aio/test_websocket_client.py"),
    "deflate": _WEBSOCKET,
    "sse": _SSE,
    "resp": _RESP,
    "session": _RESP,
    **dict.fromkeys(("client_commands", "command_docs", "pubsub_commands"), _RESP),
    "commands": _RESP,
    "stream_commands": (*_STREAMS, *_RESP),
    "group_commands": (*_STREAMS, *_RESP),
    "groups": _STREAMS,
    "log": (*_STREAMS, *_BROKER),
    "broker": (*_BROKER, *_STREAMS),
    "buffer": ("tests/test_buffer.py", *_SSE, *_RESP, "tests/test_http1.py"),
    "core": ("tests/test_core.py", *_SSE, *_RESP, "tests/test_http1.py", "tests/test_websocket.py"),
}


def protocol_of(mutant: Mutant) -> str:
    """Return the protocol of the sentence that the mutant breaks; of a generated mutant, the protocol of its module."""
    if mutant.breaks and (standard := mutant.breaks[0].partition("-")[0]) in _STANDARDS:
        return _STANDARDS[standard]
    return next((protocol for protocol, modules in PROTOCOLS.items() if mutant.module in modules), "all protocols")


def module_tests(module: str) -> tuple[str, ...]:
    """Return the tests of a plain core, fast ones first. Raises MutantError if the module is not a plain core."""
    if module not in _TESTS:
        raise MutantError(f"no tests are listed for {module}; there are some for {', '.join(sorted(_TESTS))}")
    return _fast_first([*_TESTS[module], f"tests/test_traces.py -k [{module}]"])


def entry_tests(mutant: Mutant, entries: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return the tests that the mutant's entries name. ``entries``: id -> tests, as ``ledger_tests`` returns it.

    Raises MutantError if an entry is not in the ledger, or if none of them names a test.
    """
    for entry in mutant.breaks:
        if entry not in entries:
            raise MutantError(f"mutant {mutant.name!r} breaks {entry!r}, which is not an entry of the ledger")
    tests = [test for entry in mutant.breaks for test in entries[entry]]
    if not tests:
        raise MutantError(f"mutant {mutant.name!r} breaks {', '.join(mutant.breaks)}, for which the ledger names no test")
    return _fast_first(tests)


def ledger_tests() -> dict[str, tuple[str, ...]]:
    """Return the tests that each entry of the ledger names, by the entry's id."""
    try:
        return {entry.id: entry.checked for entry in load()}
    except ValueError as error:  # LedgerError, or a TOMLDecodeError
        raise MutantError(f"requirements.toml: {error}") from error


def _fast_first(tests: list[str]) -> tuple[str, ...]:
    """Return the tests, each once. The tests of a file are next to each other; otherwise pytest would read the file twice."""
    files = list(dict.fromkeys(_file(test) for test in tests))
    files.sort(key=lambda file: any(slow in file for slow in _SLOW))
    return tuple(dict.fromkeys(sorted(tests, key=lambda test: files.index(_file(test)))))


def _file(test: str) -> str:
    return test.partition(" -k ")[0].partition("::")[0]
