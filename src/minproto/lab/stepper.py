"""The requests of the page's stepper, at the path PATH.

    GET   /lab/apart    what there is to choose: protocols with their roles, exchanges, and wrong examples of the ledger
    POST  /lab/apart    {"protocol": "resp", "role": "server", "hex": "50494e470d0a", "cuts": [2]}: the steps, as JSON
    GET   /lab/requirements/9112.md    a page of docs/requirements, where the lab runs in a clone
"""

import asyncio
import json
from pathlib import Path
from typing import Any

from minproto.aio.http import Answer, Request, Response, not_allowed
from minproto.lab.apart import MAX_BYTES, MAX_CUTS, take_apart, wrong_examples
from minproto.lab.ends import ENDS
from minproto.lab.exchanges import EXCHANGES
from minproto.prove.ledger import STANDARDS

PATH = "/lab/apart"
REQUIREMENTS = "/lab/requirements/"
MAX_CONTENT = 1 << 20
"""The maximum number of bytes of a POST. It leaves room for more bytes and cuts than MAX_BYTES and MAX_CUTS allow, so that the
answer to too many is a sentence, and not just a 413."""
PAGES = Path(__file__).parents[3] / "docs" / "requirements"


async def step(request: Request) -> Answer:
    """Answer a request of the stepper. The work is done in a thread: up to a second of it must not stop the other columns."""
    if request.path.startswith(REQUIREMENTS):
        return _page(request.path.removeprefix(REQUIREMENTS)) if request.method == "GET" else not_allowed("GET", "HEAD")
    if request.method == "GET":
        return _json(await asyncio.to_thread(choices))
    if request.method != "POST":
        return not_allowed("GET", "HEAD", "POST")
    content = await request.read(MAX_CONTENT)
    try:
        protocol, role, data, cuts = parse_order(content)
        return _json(await asyncio.to_thread(take_apart, protocol, role, data, cuts))
    except ValueError as error:
        return Response.text(f"{error}\n", 400)


def choices() -> dict[str, Any]:
    """Return what there is to choose, for ``json.dumps``."""
    exchanges = [{**each._asdict(), "hex": each.data.hex()} for each in EXCHANGES]
    for exchange in exchanges:
        del exchange["data"]
    wrong = [
        {"id": entry.id, "protocol": protocol, "role": role, "hex": data.hex()}
        for protocol, roles in ENDS.items() for role in roles for entry, data in wrong_examples(protocol, role)
    ]  # fmt: skip
    return {"ends": ENDS, "exchanges": exchanges, "wrong": wrong, "max_bytes": MAX_BYTES, "max_cuts": MAX_CUTS}


def parse_order(content: bytes) -> tuple[str, str, bytes, list[int]]:
    """Return the protocol, role, bytes and cuts of a POST. Raises ValueError."""
    try:
        order = json.loads(content)
    except (ValueError, RecursionError):
        order = None
    if not isinstance(order, dict):
        raise ValueError('the content is an object of JSON: {"protocol": …, "role": …, "hex": …, "cuts": […]}')
    protocol, role, digits, cuts = (order.get(name) for name in ("protocol", "role", "hex", "cuts"))
    if not isinstance(protocol, str) or not isinstance(role, str):
        raise ValueError("protocol and role are texts")
    if not isinstance(digits, str):
        raise ValueError("hex is a text of hexadecimal digits")
    if not isinstance(cuts, list) or not all(type(cut) is int for cut in cuts):
        raise ValueError("cuts is a list of whole numbers")
    try:
        return protocol, role, bytes.fromhex(digits), cuts
    except ValueError:
        raise ValueError(f"hex has two hexadecimal digits for each byte, not {digits[:40]!r}") from None


def _page(name: str) -> Response:
    """Answer with a page of the ledger, as text. Only names of standards are accepted, so no other file is read."""
    if name.removesuffix(".md") not in STANDARDS or not (PAGES / name).is_file():
        return Response.text("there is no such page: the lab shows docs/requirements only where it runs in a clone\n", 404)
    headers = [("content-type", "text/plain; charset=utf-8"), ("x-content-type-options", "nosniff")]
    return Response((PAGES / name).read_bytes(), headers=headers)


def _json(value: object) -> Response:
    return Response.json(value, headers={"cache-control": "no-store"})
