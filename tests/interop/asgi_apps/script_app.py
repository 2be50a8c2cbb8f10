"""An ASGI app that does what its request says in ``x-script``, and remembers what it saw: GET /seen/NUMBER shows it."""

import asyncio
import json
from typing import Any

seen: dict[str, dict[str, Any]] = {}


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        return
    if scope["path"].startswith("/seen/"):
        return await answer(send, json.dumps(seen.get(scope["path"].removeprefix("/seen/"))).encode())
    headers = dict(scope["headers"])
    record = seen[headers[b"x-number"].decode()] = {"scope": plain(scope), "content": "", "events": [], "raised": ""}
    script = json.loads(headers[b"x-script"])
    try:
        await play(script, receive, send, record)
    except OSError:
        record["raised"] = "OSError"
        raise
    except Exception as error:
        record["raised"] = type(error).__name__
        raise
    finally:
        record["over"] = True


def plain(scope: dict[str, Any]) -> dict[str, Any]:
    """What every server has to tell, as JSON can hold it."""
    names = ("type", "http_version", "method", "scheme", "path", "raw_path", "query_string", "root_path")
    told = {name: scope[name].decode("latin-1") if isinstance(scope[name], bytes) else scope[name] for name in names}
    told["headers"] = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]]
    told["types"] = [type(scope[name]).__name__ for name in ("path", "raw_path", "query_string")]
    return told


async def play(script: dict[str, Any], receive: Any, send: Any, record: dict[str, Any]) -> None:
    reads = script["reads"]
    while reads:
        message = await receive()
        record["content"] += message.get("body", b"").decode("latin-1")
        record["events"] += [message["type"]] if message["type"] != "http.request" else []
        if reads == "first" or not message.get("more_body"):
            break
    for step in script["steps"]:
        match step:
            case "raise":
                raise LookupError("a fault of the app")
            case "pause":
                await asyncio.sleep(0.01)
            case ["start", status, fields]:
                headers = [(name.encode(), value.encode()) for name, value in fields]
                await send({"type": "http.response.start", "status": status, "headers": headers})
            case ["body", size, more]:
                await send({"type": "http.response.body", "body": b"x" * size, "more_body": more})
            case "end":
                await send({"type": "http.response.body"})
            case "wait":
                record["events"].append((await receive())["type"])
            case _:
                raise AssertionError(step)


async def answer(send: Any, content: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(content))]})
    await send({"type": "http.response.body", "body": content})
