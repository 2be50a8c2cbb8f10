"""The attacks on step 2: a user of our server visits a page of an attacker, and the page has a script.

In the first attack the script opens a WebSocket to our server. The browser adds the user's cookie, as it does with each
request.

In the second attack a cache is between browser and server. It keeps the responses that pass through it, and knows nothing
of WebSocket. The script sends a request for another site's library, and then a response to it, each as a text. Our server
sends both back. The cache sees a request on its way to a server, and a response on its way back. It prints:

    a page of http://127.0.0.1:8000 opens a WebSocket, with the cookie of the user
        step2_lengths: text 'hello'
        step3_pages:   text 'hello'
    a page of http://evil.example opens a WebSocket, with the cookie of the user
        step2_lengths: text 'hello'
        step3_pages:   403
    the cache of a browser that masks stores
        step2_lengths: nothing (open)
        step3_pages:   nothing (open)
    the cache of a browser that does not mask stores
        step2_lengths: cdn.example/library.js = evil() (open)
        step3_pages:   nothing (closed)
"""

import re

from stage import TEXT, Server, connect, frame, run, shown

REQUEST = b"GET /library.js HTTP/1.1\r\nHost: cdn.example\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nevil()"
KEYS = {"that masks": bytes.fromhex("37fa213d"), "that does not mask": b""}


def cached(sent: bytes, received: bytes) -> str:
    """Return what the cache stores: it looks for a request, and for the response that comes next."""
    request = re.search(rb"GET (\S+) HTTP/1\.1\r\nHost: (\S+)\r\n\r\n", sent)
    response = re.search(rb"HTTP/1\.1 200 OK\r\nContent-Length: (\d+)\r\n\r\n", received)
    if not request or not response:
        return "nothing"
    return f"{request[2].decode()}{request[1].decode()} = {received[response.end() :][: int(response[1])].decode()}"


async def hijack(server: Server, origin: bytes) -> str:
    client = await connect(server, b"Cookie: user=alice\r\nOrigin: %b\r\n" % origin)
    await client.send(frame(TEXT, b"hello"))
    return shown(client)


async def poison(server: Server, key: bytes) -> str:
    client = await connect(server)
    frames = frame(TEXT, REQUEST, key), frame(TEXT, RESPONSE, key)
    await client.send(*frames)
    return f"{cached(b''.join(frames), client.received)} ({'open' if client.open else 'closed'})"


for origin in b"http://127.0.0.1:8000", b"http://evil.example":
    print(f"a page of {origin.decode()} opens a WebSocket, with the cookie of the user")
    print("    step2_lengths:", run("step2_lengths", hijack, origin))
    print("    step3_pages:  ", run("step3_pages", hijack, origin))
for name, key in KEYS.items():
    print(f"the cache of a browser {name} stores")
    print("    step2_lengths:", run("step2_lengths", poison, key))
    print("    step3_pages:  ", run("step3_pages", poison, key))
