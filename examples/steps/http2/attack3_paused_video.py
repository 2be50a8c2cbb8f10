"""The attack on step 3: a client that stops reading one of its streams.

A user pauses a video on stream 1. The browser has room for 65,535 bytes of it. Then the user asks for a page on stream 3. Up
to eight pieces are on their way, in the kernels' buffers of both ends. In step 3 all eight belong to the video. So the browser
has to store more bytes than it has room for, or to stop reading the connection, which also carries the page. In step 4 the
browser gives credit to the connection, and none to stream 1. It prints:

    a paused video of 1,000,000 bytes, then a page of 500 bytes
        step3_states: the browser holds 65,536 bytes of the video, and stops reading; no page
        step4_credit: the browser holds 65,535 bytes of the video; the page of 500 bytes is there
"""

from types import ModuleType

import step3_states
import step4_credit

ROOM = 65_535
IN_FLIGHT = 8


def browse(step: ModuleType, credit: bool) -> str:
    connection, network, video = step.Connection(), [], 0
    connection.receive_data(step.frame(step.HEADERS, step.END_STREAM, 1, b"/1000000"))
    asked = False
    while True:
        while len(network) < IN_FLIGHT and (piece := connection.next_piece()):
            network.append(piece)
        if not asked and (video >= ROOM or not network):
            asked = True
            connection.receive_data(step.frame(step.HEADERS, step.END_STREAM, 3, b"/500"))
            continue
        if video > ROOM:
            return f"the browser holds {video:,} bytes of the video, and stops reading; no page"
        data = network.pop(0)
        if data[8] == 3:
            return f"the browser holds {video:,} bytes of the video; the page of {len(data) - 9} bytes is there"
        video += len(data) - 9
        if credit:  # the connection may go on, and the stream may not
            connection.receive_data(step.frame(step.WINDOW_UPDATE, 0, 0, (len(data) - 9).to_bytes(4)))


print("a paused video of 1,000,000 bytes, then a page of 500 bytes")
print("    step3_states:", browse(step3_states, credit=False))
print("    step4_credit:", browse(step4_credit, credit=True))
