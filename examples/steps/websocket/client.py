r"""A small client for all steps: it sends each argument as a text, and prints the frames that come back.

    python examples/steps/websocket/client.py 8000 hello "a second text"

It prints each frame that it sends (>) and receives (<): the first bytes in hexadecimal digits, and what the frame means. In
the end it sends a Close, and waits two seconds for the server's Close.
"""

import os
import socket
import sys
from base64 import b64encode

NAMES = {0: "continuation", 1: "text", 2: "binary", 8: "Close", 9: "Ping", 10: "Pong"}


def send(connection: socket.socket, opcode: int, payload: bytes) -> None:
    """Send a frame, masked with a random key."""
    size, key = len(payload), os.urandom(4)
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    masked = bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))
    show(">", bytes((0x80 | opcode,)) + length + key + masked, payload)
    connection.sendall(bytes((0x80 | opcode,)) + length + key + masked)


def receive(stream: socket.SocketIO) -> int:
    """Print the next frame, and return its opcode."""
    header = read(stream, 2)
    size = header[1] & 0x7F
    if size >= 126:
        header += read(stream, 2 if size == 126 else 8)
        size = int.from_bytes(header[2:], "big")
    payload = read(stream, size)
    show("<", header + payload, payload)
    return header[0] & 0x0F


def read(stream: socket.SocketIO, size: int) -> bytes:
    """Return this many bytes. Raises EOFError if the connection ends before they have arrived."""
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


def show(arrow: str, frame: bytes, payload: bytes) -> None:
    """Print a frame."""
    opcode = frame[0] & 0x0F
    if opcode == 8:
        meaning = f"{int.from_bytes(payload[:2], 'big')} {payload[2:].decode(errors='replace')}"
    else:
        meaning = f"{payload[:40].decode(errors='replace')!r}" + ("..." if len(payload) > 40 else "")
    print(arrow, frame[:16].hex(" ") + (" ..." if len(frame) > 16 else ""), "  ", NAMES.get(opcode, opcode), meaning)


def main(port: int, texts: list[str]) -> None:
    """Do the handshake, send the texts, and wait for an answer to each."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection, connection.makefile("rb") as stream:
        lines = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        key = b64encode(os.urandom(16)).decode()
        connection.sendall(f"{lines}Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        while line := stream.readline().strip():
            print("<", line.decode("latin-1"))
        for text in texts:
            send(connection, 1, text.encode())
            while receive(stream) not in (1, 8):
                pass
        send(connection, 8, (1000).to_bytes(2, "big"))
        connection.settimeout(2)
        while receive(stream) != 8:
            pass


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), sys.argv[2:] or ["hello"])
    except EOFError:
        print("the server has ended the connection")
    except TimeoutError:
        print("nothing more has come")
    except (OSError, ValueError, IndexError) as error:
        sys.exit(f"usage: client.py PORT TEXT...: {error}")
