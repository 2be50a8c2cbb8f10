"""Requests that break the grammar, and the servers that accept them: `python -m benchmarks.conformance`, from the root.

Each request is sent to each server, on a connection of its own. Request smuggling is made of requests that one server accepts
and the next one refuses, or reads in another way. "MUST" marks the requests that a server has to refuse, by the section that
is named. The others are a server's choice, and our server refuses them. We wrote the list, so it says more about the peers
than about us. The peers log their refusals on standard error: ``2>/dev/null`` hides them.

The list has heads only. Whether a server sees malformed content depends on the app, which may not read it.
"""

import socket

from benchmarks.common import H2_PEERS, HOST, MINPROTO, PEERS, installed, running, versions

SECONDS = 2.0
START = b"GET /hello HTTP/1.1\r\n"
HEAD = START + b"Host: localhost\r\n"
CASES: tuple[tuple[str, str, bytes], ...] = (
    ("no Host", "MUST, RFC 9112 3.2", START + b"\r\n"),
    ("two Hosts", "MUST, RFC 9112 3.2", HEAD + b"Host: localhost\r\n\r\n"),
    ("a Host that is none", "MUST, RFC 9112 3.2", START + b"Host: local host\r\n\r\n"),
    ("blank before the colon", "MUST, RFC 9112 5.1", HEAD + b"X : 1\r\n\r\n"),
    ("field name of nothing", "RFC 9112 5", HEAD + b": 1\r\n\r\n"),
    ("field name with @", "RFC 9110 5.6.2", HEAD + b"a@b: 1\r\n\r\n"),
    ("line without a colon", "RFC 9112 5", HEAD + b"X\r\n\r\n"),
    ("blank before a first field", "MUST*, RFC 9112 2.2", START + b" X: 1\r\nHost: localhost\r\n\r\n"),
    ("folded field", "MUST*, RFC 9112 5.2", HEAD + b"X: 1\r\n 2\r\n\r\n"),
    ("NUL in a value", "MUST*, RFC 9110 5.5", HEAD + b"X: a\0b\r\n\r\n"),
    ("CR in a value", "MUST*, RFC 9110 5.5", HEAD + b"X: a\rb\r\n\r\n"),
    ("lines that end with LF", "RFC 9112 2.2", HEAD.replace(b"\r\n", b"\n") + b"\n"),
    ("two lengths that differ", "MUST, RFC 9112 6.3", HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    ("length with a sign", "MUST, RFC 9112 6.3", HEAD + b"Content-Length: +1\r\n\r\na"),
    ("length with _", "MUST, RFC 9112 6.3", HEAD + b"Content-Length: 1_0\r\n\r\n0123456789"),
    ("length and chunked", "RFC 9112 6.1", HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("chunked is not the last", "MUST, RFC 9112 6.3", HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    ("chunked twice", "RFC 9112 6.1", HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    ("a coding that nobody knows", "RFC 9112 6.1", HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("method with a blank in it", "RFC 9112 3", b"GE T /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("version of three digits", "RFC 9112 2.3", b"GET /hello HTTP/1.10\r\nHost: localhost\r\n\r\n"),
    ("version in lower case", "RFC 9112 2.3", b"GET /hello http/1.1\r\nHost: localhost\r\n\r\n"),
    ("target with a fragment", "RFC 9112 3.2", b"GET /hello#a HTTP/1.1\r\nHost: localhost\r\n\r\n"),
)
TAKEN = ("2", "404", "405")


def ask(port: int, request: bytes) -> str:
    """Return the status of the answer; "closed" if the server closes without an answer, "waits" if it does neither."""
    with socket.create_connection((HOST, port), SECONDS) as sock:
        try:
            sock.sendall(request)
            answer = sock.recv(65_536)
        except TimeoutError:
            return "waits"
        except ConnectionError:
            return "closed"
    return answer[9:12].decode("latin-1") if answer else "closed"


def main() -> None:
    peers = installed([MINPROTO, *(peer for peer in PEERS if peer.name != "bare"), H2_PEERS[0]])
    answers: dict[str, list[str]] = {}
    for peer in peers:
        with running(peer, None) as server:
            answers[peer.name] = [ask(server.port, request) for _, _, request in CASES]
    print(versions(peers))
    print(f"{'':28}{'':22}" + "".join(f"{name:>18}" for name in answers))
    for number, (case, section, _) in enumerate(CASES):
        print(f"{case:28}{section:22}" + "".join(f"{column[number]:>18}" for column in answers.values()))
    print(f"{f'refused, of {len(CASES)}':50}" + "".join(f"{refused(column):>18}" for column in answers.values()))
    print("MUST*: or mend it, in the way that the section says")


def refused(column: list[str]) -> int:
    return sum(not answer.startswith(TAKEN) and answer != "waits" for answer in column)


if __name__ == "__main__":
    main()
