"""The attack on step 5: one long answer, and one short question after the other.

Whenever a short answer has ended, the client asks for the next one. Step 5 always finds a shorter answer than the long one.
It prints:

    /1000000 on stream 1, and 100 times /10000, one after the other
        step5_credit_back: 100 short answers, 0 bytes of the long one
        step6_rounds:      100 short answers, 1,000,000 bytes of the long one
"""

from types import ModuleType

import step5_credit_back
import step6_rounds


def starve(step: ModuleType) -> str:
    connection, short, long, id_ = step.Connection(), 0, 0, 3
    connection.receive_data(step.frame(step.WINDOW_UPDATE, 0, 0, (10_000_000).to_bytes(4)))
    connection.receive_data(step.frame(step.HEADERS, step.END_STREAM, 1, b"/1000000"))
    connection.receive_data(step.frame(step.WINDOW_UPDATE, 0, 1, (1_000_000).to_bytes(4)))
    connection.receive_data(step.frame(step.HEADERS, step.END_STREAM, 3, b"/10000"))
    while short < 100:
        piece = connection.next_piece()
        if piece[8] == 1:
            long += len(piece) - 9
        else:
            short += 1
            id_ += 2
            connection.receive_data(step.frame(step.HEADERS, step.END_STREAM, id_, b"/10000"))
    return f"{short} short answers, {long:,} bytes of the long one"


print("/1000000 on stream 1, and 100 times /10000, one after the other")
print("    step5_credit_back:", starve(step5_credit_back))
print("    step6_rounds:     ", starve(step6_rounds))
