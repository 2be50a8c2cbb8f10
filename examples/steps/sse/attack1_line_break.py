r"""The attack on step 1: texts with line breaks in them.

An event ends at an empty line, and a line ends at a line break. Step 1 writes the text of a user as it is. So a second line is
lost, since the client takes it for a field with an unknown name. And a user can write an event of any type. It prints:

    the text is 'first line\nsecond line'
        step1_print: 'first line'
        step2_lines: 'first line\nsecond line'
    the text is 'hi\n\nevent: admin\ndata: we close at noon'
        step1_print: 'hi', admin 'we close at noon'
        step2_lines: 'hi\n\nevent: admin\ndata: we close at noon'
    the text is 'hi\rdata: forged'
        step1_print: 'hi\nforged'
        step2_lines: 'hi\ndata: forged'
"""

from stage import Browser, Server, post, run

TEXTS = "first line\nsecond line", "hi\n\nevent: admin\ndata: we close at noon", "hi\rdata: forged"


async def attack(server: Server, text: str) -> str:
    browser = Browser(server)
    await browser.connect()
    await post(server, text)
    return browser.shown()


for text in TEXTS:
    print("the text is", repr(text))
    print("    step1_print:", run("step1_print", attack, text))
    print("    step2_lines:", run("step2_lines", attack, text))
