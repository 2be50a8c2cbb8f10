r"""The attacks on step 3: a connection that breaks, and many subscribers.

A message that is published between two connections of a browser is lost. The browser comes back, and does not know that
it has missed a message. And step 3 encodes an event once for each subscriber. It prints:

    the connection breaks after the first event
        step3_cuts:   'first', 'third'
        step4_resume: 'first', 'second', 'third'
    100 subscribers, one event
        step3_cuts:   calls of encode: 100
        step4_resume: calls of encode: 1
"""

from stage import Browser, Server, post, run


async def reconnect(server: Server) -> str:
    browser = Browser(server)
    await browser.connect()
    await post(server, "first")
    browser.lose()
    await post(server, "second")
    await browser.connect()
    await post(server, "third")
    return browser.shown()


async def many(server: Server) -> str:
    for _ in range(100):
        await Browser(server).connect()
    encoded = server.count_calls("encode")
    await post(server, "hello")
    return f"calls of encode: {encoded[0]}"


for name, attack in {"the connection breaks after the first event": reconnect, "100 subscribers, one event": many}.items():
    print(name)
    print("    step3_cuts:  ", run("step3_cuts", attack))
    print("    step4_resume:", run("step4_resume", attack))
