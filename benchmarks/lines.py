"""How much there is to read, compared with the peers: `python -m benchmarks.lines`, from the repository root.

A line counts if it has code: blank lines, comments, docstrings, and other statements that consist only of a string do not. All
files that a job needs count, with the installed libraries on which a peer is built. C code does not count. A peer may do more
than we do: the last column says so.
"""

import ast
import io
import tokenize
from importlib.util import find_spec
from pathlib import Path

import minproto

OURS = Path(minproto.__file__).parent
CORE = "core.py buffer.py"
REMOTE = "aio/link.py aio/remote.py aio/remote_subscription.py aio/remote_history.py"
HTTP1 = f"{CORE} http.py http1.py http1_body.py"
WEBSOCKET = f"{CORE} http.py websocket.py websocket_handshake.py deflate.py"
HTTP2 = f"{CORE} http.py http2.py http2_events.py http2_fields.py http2_flow.py http2_frames.py http2_reader.py"
HTTP2 = f"{HTTP2} http2_sending.py http2_settings.py http2_streams.py"
ENDPOINT = "aio/pipe.py aio/endpoint.py aio/loop.py aio/patience.py"
SHELL = f"{ENDPOINT} aio/listener.py aio/http.py aio/content.py aio/observe.py"
SHELL1 = f"{SHELL} aio/http_client.py aio/http1_client.py aio/http1_content.py aio/http1_server.py"
WEBSOCKETS = "aio/websocket.py aio/websocket_server.py aio/websocket_client.py"
SOCKETS = f"{HTTP1} {WEBSOCKET} {SHELL1} {WEBSOCKETS}"
SERVER = f"{HTTP1} {HTTP2} {WEBSOCKET} {SHELL1} {WEBSOCKETS} aio/multiplex.py aio/http2_server.py aio/server.py"
JOBS = (
    ("HTTP/1.1, no I/O", HTTP1, "h11", ""),
    ("WebSocket, no I/O", WEBSOCKET, "wsproto", "h11 reads its handshakes, and is not counted"),
    ("WebSocket, with I/O", SOCKETS, "websockets", "threads and trio, too"),
    ("HTTP/2, no I/O", HTTP2, "h2 hyperframe", "priorities by a third library; push"),
    ("a server of all three", SERVER, "hypercorn h11 h2 hyperframe wsproto priority", "ASGI, WSGI, trio, HTTP/3"),
    ("Redis pub/sub, client", f"{CORE} resp.py {ENDPOINT} {REMOTE}", "redis", "all commands of Redis"),
    ("Server-Sent Events", "sse.py aio/sse.py", "sse_starlette", "on starlette, not counted; no client"),
)
IGNORED = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING, tokenize.ENDMARKER,
}  # fmt: skip


def code_lines(source: str) -> int:
    """Return the number of lines of a file that have code."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {line for it in tokens if it.type not in IGNORED for line in range(it.start[0], it.end[0] + 1)}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines -= set(range(node.lineno, (node.end_lineno or 0) + 1))
    return len(lines)


def count(paths: list[Path]) -> int:
    return sum(code_lines(path.read_text()) for path in paths)


def count_ours(names: str) -> int:
    return count([OURS / name for name in sorted(set(names.split()))])


def files_of(package: str) -> list[Path]:
    """Return the number for an installed package; None if it is not installed."""
    spec = find_spec(package)
    return sorted(Path(str(spec.origin)).parent.rglob("*.py")) if spec else []


def main() -> None:
    print(f"{'lines of code':24}{'minproto':>9}{'peer':>8}  peer")
    for job, ours, peers, more in JOBS:
        found = {name: count(files_of(name)) for name in peers.split()}
        theirs = f"{sum(found.values()):,}" if all(found.values()) else "-"
        missing = [name for name, number in found.items() if not number]
        note = f"not installed: {', '.join(missing)}" if missing else more
        print(f"{job:24}{count_ours(ours):9,}{theirs:>8}  {' + '.join(found)}{f' ({note})' if note else ''}")


if __name__ == "__main__":
    main()
