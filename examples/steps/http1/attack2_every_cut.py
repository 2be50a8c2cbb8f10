r"""The attack on step 2: one request, cut into two segments at each of its bytes in turn.

Step 2 looks for the empty line in each new piece. So it misses an empty line that lies in two pieces. And it does not know
whether content is still to come. It prints:

    step2_head: 55 ways to cut 56 bytes into two segments
        47 x 200 POST /echo hello
         3 x no answer (the first segment ends in b' 5\r', b'5\r\n', b'\r\n\r')
         1 x 200 POST /echo (the first segment ends in b'\n\r\n')
         1 x 200 POST /echo h (the first segment ends in b'\r\nh')
         1 x 200 POST /echo he (the first segment ends in b'\nhe')
         1 x 200 POST /echo hel (the first segment ends in b'hel')
         1 x 200 POST /echo hell (the first segment ends in b'ell')
    step3_cuts: 55 ways to cut 56 bytes into two segments
        55 x 200 POST /echo hello
"""

from network import Server, run

REQUEST = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"


async def attack(server: Server) -> dict[str, list[bytes]]:
    """Return each answer, with the first segments that lead to it."""
    answers: dict[str, list[bytes]] = {}
    for cut in range(1, len(REQUEST)):
        client = server.connect()
        await client.send(REQUEST[:cut], REQUEST[cut:])
        answers.setdefault(client.shown(), []).append(REQUEST[:cut])
    return answers


for step in "step2_head", "step3_cuts":
    print(f"{step}: {len(REQUEST) - 1} ways to cut {len(REQUEST)} bytes into two segments")
    for answer, segments in run(step, attack).items():
        ends = ", ".join(str(segment[-3:]) for segment in segments)
        print(f"    {len(segments):2} x {answer}" + (f" (the first segment ends in {ends})" if len(segments) < 5 else ""))
