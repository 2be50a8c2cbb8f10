r"""The attack on step 7: content in many small chunks, each in a segment of its own.

After each segment, step 7 parses all bytes so far from the beginning: two sizes after the second segment, three after the
third. For n chunks it parses about n*n/2 sizes, which is *quadratic time*: ten times the chunks take a hundred times as long.
During all this time the server serves nobody else. It prints:

    content in 300 chunks of one byte
        step7_drain: 45,451 sizes parsed
        step8_core:  301 sizes parsed
"""

from network import Server, run

COUNT = 300


async def attack(server: Server) -> str:
    parsed = server.count_calls("chunk_size")
    client = server.connect()
    await client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    await client.send(*[b"1\r\nx\r\n"] * COUNT, b"0\r\n\r\n")
    assert client.shown() == f"200 POST /echo {'x' * COUNT}"
    return f"{parsed[0]:,} sizes parsed"


print(f"content in {COUNT:,} chunks of one byte")
print("    step7_drain:", run("step7_drain", attack))
print("    step8_core: ", run("step8_core", attack))
