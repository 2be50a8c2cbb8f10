"""The attack on step 2: a client uses the number of a stream again while its answer is being sent.

Step 2 replaces the first answer by the second. So one stream carries the beginning of one answer and the end of another, and
nobody can tell. In the second case the number has ended, and a late piece begins the stream again. It prints:

    /20000 on stream 1, and /5 on stream 1 after one piece
        step2_streams: an answer of 16,389 bytes
        step3_states:  stream 1 cannot begin after stream 1
    a piece for stream 1, which has ended
        step2_streams: an answer of 5 bytes, and then an answer of 5 bytes
        step3_states:  content after the end of stream 1
"""

import step2_streams
import step3_states


def answers2(*pieces: bytes) -> str:
    """Return the answers of step 2, which sends one piece after each piece of the client."""
    connection, sizes = step2_streams.Connection(), [0]
    for data in [*pieces, b"", b""]:
        connection.receive_data(data)
        size = len(piece) - 7 if (piece := connection.next_piece()) else 0
        sizes[-1] += size
        if piece and not size:
            sizes.append(0)
    return ", and then ".join(f"an answer of {size:,} bytes" for size in sizes if size)


def answers3(*pieces: bytes) -> str:
    """Return the fault that step 3 finds."""
    connection = step3_states.Connection()
    try:
        for data in pieces:
            connection.receive_data(data)
            connection.next_piece()
    except step3_states.Fault as fault:
        return str(fault)
    return "no fault"


def old(target: bytes) -> bytes:
    return step2_streams.piece(1, target)


def new(target: bytes, type_: int = step3_states.HEADERS) -> bytes:
    return step3_states.frame(type_, step3_states.END_STREAM, 1, target)


print("/20000 on stream 1, and /5 on stream 1 after one piece")
print("    step2_streams:", answers2(old(b"/20000"), old(b"/5")))
print("    step3_states: ", answers3(new(b"/20000"), new(b"/5")))
print("a piece for stream 1, which has ended")
print("    step2_streams:", answers2(old(b"/5"), b"", old(b"/5")))
print("    step3_states: ", answers3(new(b"/5"), new(b"late", step3_states.DATA)))
