r"""The attack on step 6: a client that speaks HTTP/2. Its first bytes are "PRI * HTTP/2.0".

Step 6 takes "PRI" for a length, 5,263,945 bytes, and waits for them. It prints:

    the preface, SETTINGS, and a request
        step6_rounds: nothing
        step7_frames: SETTINGS, SETTINGS with ACK, HEADERS, DATA b'hello with 0 bytes of content\n'
"""

from types import ModuleType

import frames
import step6_rounds
import step7_frames

REQUEST = (
    frames.PREFACE
    + frames.frame(frames.SETTINGS, 0, 0, frames.setting(frames.INITIAL_WINDOW_SIZE, 1_000_000))
    + frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 1, bytes.fromhex("8286 0402 2f35"))  # GET /5
)


def ask(step: ModuleType) -> str:
    connection, data, seen = step.Connection(), b"", []
    connection.receive_data(REQUEST)
    while piece := connection.next_piece():
        data += piece
    while data:
        size = 9 + int.from_bytes(data[:3])
        name = {0: f"DATA {data[9:size]}", 1: "HEADERS", 4: "SETTINGS with ACK" if data[4] else "SETTINGS"}[data[3]]
        seen.append(name)
        data = data[size:]
    return ", ".join(seen) or "nothing"


print("the preface, SETTINGS, and a request")
print("    step6_rounds:", ask(step6_rounds))
print("    step7_frames:", ask(step7_frames))
