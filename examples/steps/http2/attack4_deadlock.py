"""The attack on step 4: content that is larger than the window. No attacker is needed.

The client waits for credit, and the server waits for the rest of the content. It prints:

    a client sends 200,000 bytes of content
        step4_credit:      65,535 bytes sent, then both wait for ever
        step5_credit_back: 200,000 bytes sent, answer: /form with 200000 bytes of content
"""

from types import ModuleType

import step4_credit
import step5_credit_back


def upload(step: ModuleType) -> str:
    connection, left, windows = step.Connection(), 200_000, {0: step.WINDOW, 1: step.WINDOW}
    connection.receive_data(step.frame(step.HEADERS, 0, 1, b"/form"))
    while True:
        while (size := min(left, step.MAX_PIECE, *windows.values())) > 0:
            left -= size
            windows = {id_: window - size for id_, window in windows.items()}
            connection.receive_data(step.frame(step.DATA, step.END_STREAM if left == 0 else 0, 1, bytes(size)))
        data = connection.next_piece()
        if not data:
            return f"{200_000 - left:,} bytes sent, then both wait for ever"
        while data:
            size = 9 + int.from_bytes(data[:3])
            header, payload, data = data[:9], data[9:size], data[size:]
            if header[3] == step.DATA:
                return f"{200_000 - left:,} bytes sent, answer: {payload.decode().strip()}"
            windows[header[8]] += int.from_bytes(payload)


print("a client sends 200,000 bytes of content")
print("    step4_credit:     ", upload(step4_credit))
print("    step5_credit_back:", upload(step5_credit_back))
