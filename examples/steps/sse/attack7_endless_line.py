r"""The attacks on step 7: a server that sends a line without an end, and a client that forges a field by the type of an event.

The line comes in pieces of 20,000 bytes. A relay with step 7 keeps all of them, and for each piece it searches all of them
again. It would store a gigabyte in the same way. In the second attack a relay has a subscriber. Its server sends the event
"first", the line without an end, and after the relay has come back the event "next". In the third attack the target of a POST
holds a line feed, and the target is the type. It prints:

    a line without an end
        step7_slow: 1,100,000 bytes received, 30,800,000 characters searched, 1,100,000 held
        step8_core: 1,020,000 bytes received, the event is too big: over 1,000,000 characters
    what a subscriber of the relay gets
        step7_slow: 'first', 'next'
        step8_core: 'first', gap '', 'next'
    the type has a line feed in it
        step7_slow: price 'forged\n5'
        step8_core: nothing
"""

import re

import step7_slow
import step8_core
from stage import Browser, Server, follow, run

from minproto.core import CLIENT, RemoteProtocolError
from minproto.sse import Connection

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
PIECE, COUNT = b"x" * 20_000, 55


class Counted:
    """A pattern that counts the characters that it searches."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self.pattern, self.searched = pattern, 0

    def split(self, text: str) -> list[str]:
        self.searched += len(text)
        return self.pattern.split(text)


def endless_7() -> str:
    step7_slow.LINE_BREAK = counted = Counted(step7_slow.LINE_BREAK)
    reader = step7_slow.EventReader()
    for _ in range(COUNT):
        reader.receive(PIECE)
    return f"{COUNT * len(PIECE):,} bytes received, {counted.searched:,} characters searched, {len(reader._line):,} held"


def endless_8() -> str:
    core, received = Connection(CLIENT, step8_core.LIMITS), 0
    try:
        for _ in range(COUNT):
            core.receive_data(PIECE)
            received += len(PIECE)
            core.next_event()
    except RemoteProtocolError as error:
        return f"{received:,} bytes received, {error}"
    return "all received"


async def relay(server: Server) -> str:
    browser = Browser(server)
    await browser.connect()
    await follow(server, 60, HEAD + b"data: first\n\n" + PIECE * COUNT, HEAD + b"data: next\n\n")
    return browser.shown()


async def forge(server: Server) -> str:
    browser = Browser(server)
    await browser.connect()
    client = server.connect()
    await client.send(b"POST /price\ndata:forged HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n5")
    return browser.shown()


print("a line without an end")
print("    step7_slow:", endless_7())
print("    step8_core:", endless_8())
print("what a subscriber of the relay gets")
print("    step7_slow:", run("step7_slow", relay))
print("    step8_core:", run("step8_core", relay))
print("the type has a line feed in it")
print("    step7_slow:", run("step7_slow", forge))
print("    step8_core:", run("step8_core", forge))
