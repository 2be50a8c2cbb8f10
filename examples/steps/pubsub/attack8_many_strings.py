r"""The attack on step 8: a command of many strings, each in a segment of its own.

After each segment, step 8 parses all bytes so far from the beginning, so n strings take about n*n/2 lengths, which is
*quadratic time*. Step 9 parses each length once. It prints:

    a command of 300 strings
        step8_order: 45,751 lengths parsed
        step9_core:  301 lengths parsed
"""

from types import ModuleType
from unittest import mock

from stage import Server, run, shown

from minproto import resp


async def attack(server: Server, module: ModuleType | None, name: str) -> str:
    module = module or server.step
    with mock.patch.object(module, name, wraps=getattr(module, name)) as parse:
        client = server.connect()
        await client.send(b"*300\r\n", *[b"$1\r\nx\r\n"] * 300)
        assert shown(client).startswith("ERR unknown command")
    return f"{parse.call_count:,} lengths parsed"


print("a command of 300 strings")
print("    step8_order:", run("step8_order", attack, None, "parse_length"))
print("    step9_core: ", run("step9_core", attack, resp, "parse_integer"))
