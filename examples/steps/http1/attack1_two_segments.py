r"""The attack on step 1: a request that arrives in two segments.

TCP may cut a stream of bytes anywhere, and one ``read`` returns what has arrived. Step 1 takes the first part for the whole
request. In the second case it even answers, without the content. It prints:

    the first segment is b'GET /he'
        step1_answer: no answer
        step2_head:   200 GET /hello
    the first segment is b'POST /echo HTTP/1.1\r\n'
        step1_answer: 200 POST /echo
        step2_head:   200 POST /echo hello
"""

from network import Server, run

REQUESTS = [
    (b"GET /he", b"llo HTTP/1.1\r\nHost: a\r\n\r\n"),
    (b"POST /echo HTTP/1.1\r\n", b"Host: a\r\nContent-Length: 5\r\n\r\nhello"),
]


async def attack(server: Server, *segments: bytes) -> str:
    client = server.connect()
    await client.send(*segments)
    return client.shown()


for segments in REQUESTS:
    print("the first segment is", segments[0])
    print("    step1_answer:", run("step1_answer", attack, *segments))
    print("    step2_head:  ", run("step2_head", attack, *segments))
