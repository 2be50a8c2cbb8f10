"""The attack on step 4: a client that sends more than one request on its connection. Every browser does.

Step 4 closes the connection after the first answer, and drops the other requests. It prints:

    three requests in one segment
        step4_framing:    200 GET /1, closed
        step5_keep_alive: 200 GET /1, 200 GET /2, 200 GET /3, open
    the first request says that it is the last
        step4_framing:    200 GET /1, closed
        step5_keep_alive: 200 GET /1, closed
"""

from network import Server, run

REQUEST = b"GET /%d HTTP/1.1\r\nHost: a\r\n%b\r\n"
REST = REQUEST % (2, b"") + REQUEST % (3, b"")
ATTACKS = {
    "three requests in one segment": REQUEST % (1, b"") + REST,
    "the first request says that it is the last": REQUEST % (1, b"Connection: close\r\n") + REST,
}


async def attack(server: Server, data: bytes) -> str:
    client = server.connect()
    await client.send(data)
    return f"{client.shown()}, {'open' if client.open else 'closed'}"


for name, data in ATTACKS.items():
    print(name)
    print("    step4_framing:   ", run("step4_framing", attack, data))
    print("    step5_keep_alive:", run("step5_keep_alive", attack, data))
