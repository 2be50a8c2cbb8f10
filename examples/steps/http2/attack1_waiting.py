"""The attack on step 1: a short question after a long one.

Step 1 sends all of the first answer before it begins the second one (*head-of-line blocking*). It prints:

    /1000000 and then /5 on one connection
        step1_length:  1,000,003 bytes precede the answer to /5
        step2_streams: 0 bytes precede the answer to /5
"""

import step1_length
import step2_streams

LONG, SHORT = b"/1000000", b"/5"


def bytes_before(connection: object, end: bytes) -> str:
    """Return how many bytes are sent before the piece with the short answer."""
    sent = 0
    while piece := connection.next_piece():
        if piece.endswith(end):
            return f"{sent:,} bytes precede the answer to /5"
        sent += len(piece)
    return "no answer"


print("/1000000 and then /5 on one connection")
first = step1_length.Connection()
first.receive_data(step1_length.message(LONG) + step1_length.message(SHORT))
print("    step1_length: ", bytes_before(first, step1_length.message(b"/5\n/5")))
second = step2_streams.Connection()
second.receive_data(step2_streams.piece(1, LONG) + step2_streams.piece(3, SHORT))
print("    step2_streams:", bytes_before(second, step2_streams.piece(3, b"/5\n/5")))
