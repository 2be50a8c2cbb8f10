r"""The attacks on step 4: three clients that come back, and cannot get all that they have missed.

The first one comes back when the log has dropped a part of it. The second one comes back to a server that has started again,
and counts from 1 again. The third one lost its connection before it had an id. Each of them loses events, and does not
notice it. It prints:

    150 events are published while the client is away, and the log holds 100
        step4_resume: 'event 1', 'event 52', 'event 53', ..., 'event 151'
        step5_gap:    'event 1', gap '50', 'event 52', ..., 'event 151'
    the server starts again, and a client that has seen two events comes back
        step4_resume: 'new 3'
        step5_gap:    gap '', 'new 1', 'new 2', 'new 3'
    the connection breaks before the first event
        step4_resume: 'event 2'
        step5_gap:    'event 1', 'event 2'
"""

from stage import Browser, Server, post, run


async def away(server: Server) -> str:
    browser = Browser(server)
    await browser.connect()
    await post(server, "event 1")
    browser.lose()
    await post(server, *[f"event {number}" for number in range(2, 152)])
    await browser.connect()
    return browser.shown()


async def before(server: Server) -> str:
    """Return the last id that a client sees before the server starts again."""
    browser = Browser(server)
    await browser.connect()
    await post(server, "old 1", "old 2")
    browser.lose()
    return browser.last_id


async def restart(server: Server, last_id: str) -> str:
    browser = Browser(server, last_id)
    await post(server, "new 1", "new 2")
    await browser.connect()
    await post(server, "new 3")
    return browser.shown()


async def early(server: Server) -> str:
    browser = Browser(server)
    await browser.connect()
    browser.lose()
    await post(server, "event 1")
    await browser.connect()
    await post(server, "event 2")
    return browser.shown()


STEPS = {"step4_resume": "step4_resume:", "step5_gap": "step5_gap:   "}

print("150 events are published while the client is away, and the log holds 100")
for step, name in STEPS.items():
    print("   ", name, run(step, away))
print("the server starts again, and a client that has seen two events comes back")
for step, name in STEPS.items():
    print("   ", name, run(step, restart, run(step, before)))
print("the connection breaks before the first event")
for step, name in STEPS.items():
    print("   ", name, run(step, early))
