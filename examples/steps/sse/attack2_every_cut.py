r"""The attack on step 2: one event, cut into two pieces at each of its bytes in turn, with each kind of line break.

Step 2 reads each piece by itself. So it knows neither an event that lies in two pieces nor a character that does. And it knows
one kind of line break only. It prints:

    lines end with LF: 25 ways to cut 26 bytes into two pieces
        step2_lines: 13 x 'message' '5 €'
        step2_lines:  5 x nothing
        step2_lines:  1 x 'price' ''
        step2_lines:  1 x 'price' '5'
        step2_lines:  1 x 'price' '5 '
        step2_lines:  2 x 'price' '5 �'
        step2_lines:  2 x 'price' '5 €'
        step3_cuts:  25 x 'price' '5 €'
    lines end with CR LF: 28 ways to cut 29 bytes into two pieces
        step2_lines: 14 x 'message' '5 €\r'
        step2_lines:  5 x nothing
        step2_lines:  1 x 'price\r' ''
        step2_lines:  1 x 'price\r' '5'
        step2_lines:  1 x 'price\r' '5 '
        step2_lines:  2 x 'price\r' '5 �'
        step2_lines:  1 x 'price\r' '5 €'
        step2_lines:  3 x 'price\r' '5 €\r'
        step3_cuts:  28 x 'price' '5 €'
    lines end with CR: 25 ways to cut 26 bytes into two pieces
        step2_lines: 24 x nothing
        step2_lines:  1 x 'message' '5 €\r\r'
        step3_cuts:  25 x 'price' '5 €'
"""

import step2_lines
import step3_cuts

EVENT = "event: price\ndata: 5 €\n\n".encode()
STREAMS = {"LF": EVENT, "CR LF": EVENT.replace(b"\n", b"\r\n"), "CR": EVENT.replace(b"\n", b"\r")}


def read_2(*pieces: bytes) -> list[tuple[str, str]]:
    return [event for piece in pieces for event in step2_lines.parse_events(piece.decode("utf-8", "replace"))]


def read_3(*pieces: bytes) -> list[tuple[str, str]]:
    reader = step3_cuts.EventReader()
    return [event for piece in pieces for event in reader.receive(piece)]


for name, stream in STREAMS.items():
    print(f"lines end with {name}: {len(stream) - 1} ways to cut {len(stream)} bytes into two pieces")
    for step, read in ("step2_lines", read_2), ("step3_cuts", read_3):
        results: dict[str, int] = {}
        for cut in range(1, len(stream)):
            shown = ", ".join(f"{kind!r} {data!r}" for data, kind in read(stream[:cut], stream[cut:])) or "nothing"
            results[shown] = results.get(shown, 0) + 1
        for shown, count in results.items():
            print(f"    {step + ':':12} {count:2} x {shown}")
