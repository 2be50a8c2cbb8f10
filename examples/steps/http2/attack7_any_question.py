r"""The attack on step 7: different questions.

The server has to read them. The third block has three bytes: ``bf`` is entry 63, the field ":path: /7" that the first block
has added to the table. It prints:

    /7 and /9, and then /7 again
        step7_frames: hello with 0 bytes of content, hello with 0 bytes of content, hello with 0 bytes of content
        step8_tables: /7 /7 /, /9 /9 /9, /7 /7 /
    the blocks: 82 86 44 82 61 df, 82 86 44 82 61 ff, 82 86 bf
"""

from types import ModuleType

import frames
import step7_frames
import step8_tables
from hpack import Encoder

encoder = Encoder()
BLOCKS = [
    encoder.encode([(":method", "GET"), (":scheme", "http"), (":path", target)], huffman=True) for target in ("/7", "/9", "/7")
]


def ask(step: ModuleType) -> str:
    connection, answers = step.Connection(), []
    connection.receive_data(frames.PREFACE)
    for index, block in enumerate(BLOCKS):
        flags = frames.END_HEADERS | frames.END_STREAM
        connection.receive_data(frames.frame(frames.HEADERS, flags, 1 + 2 * index, block))
        while piece := connection.next_piece():
            if piece[3] == frames.DATA:
                answers.append(" ".join(piece[9:].decode().split()))
    return ", ".join(answers)


print("/7 and /9, and then /7 again")
print("    step7_frames:", ask(step7_frames))
print("    step8_tables:", ask(step8_tables))
print("the blocks:", ", ".join(block.hex(" ") for block in BLOCKS))
