"""HTTP caching: the client keeps answers, and asks whether they have changed (ETag), or does not ask for a while (max-age).

The problem: a client asks for a page of 20 KB every two seconds, and the page changes once in a minute. 29 of 30 answers are
bytes that the client already has.

    nothing     GET /page                            --> 200, 20,000 bytes
    ETag        GET /page                            --> 200, ETag: "7", 20,000 bytes
                GET /page, If-None-Match: "7"        --> 304 (Not Modified), no content
    max-age     GET /page                            --> 200, Cache-Control: max-age=10, 20,000 bytes
                for ten seconds: no request at all, so neither the bytes nor the wait

    client --> its cache: fresh? --yes----------------> answer
                                 --no--> server: changed? --no, 304--> answer from the cache
                                                          --yes, 200-> answer, which the cache keeps

Where it helps: content that is asked for more often than it changes. ETag saves bytes and no wait; max-age saves both.
Where it harms: max-age serves what is out of date, and the server cannot take it back. An ETag costs the server the work of
making the page before it knows that nobody needs it, and where the page changes between any two requests, it adds bytes: a
field in each request, and one in each response.
"""

import asyncio
from hashlib import sha256
from random import Random
from typing import Any, NamedTuple

from scenario import Answer, Figures, Peer, Run, arrivals, milliseconds, now, offer, percent, show, table

from minproto import Request, Response

WAYS = {"nothing": (False, 0), "ETag": (True, 0), "max-age": (False, 10), "both": (True, 10)}
"""The name of a way; whether there is an ETag, and for how many seconds an answer is fresh."""


class Kept(NamedTuple):
    answer: Answer
    until: float
    etag: str | None


class Browser:
    """A client with a cache of its own (RFC 9111), as far as it needs these two fields."""

    def __init__(self, server: Peer) -> None:
        self.server, self.kept = server, dict[str, Kept]()

    async def get(self, target: str) -> bytes:
        kept = self.kept.get(target)
        if kept and now() < kept.until:
            return kept.answer.body
        answer = await self.server.get(target, [("if-none-match", kept.etag)] if kept and kept.etag else [])
        if kept and answer.status == 304:
            answer = kept.answer._replace(headers=answer.headers)  # a 304 has new fields for the content that we have
        age = (answer.headers.get("cache-control") or "max-age=0").partition("max-age=")[2]
        self.kept[target] = Kept(answer, now() + int(age), answer.headers.get("etag"))
        return answer.body


class Outcome(NamedTuple):
    users: Figures
    requests: int
    bytes: int  # on the wire, both ways
    stale: float  # the share of answers that were out of date


async def site(
    way: str, changes: float = 60.0, size: int = 20_000, rate: float = 5.0, seconds: float = 120.0, seed: int = 1
) -> Outcome:
    """Ten browsers ask for a page of ``size`` bytes, which takes 20 ms to make and changes every ``changes`` seconds."""
    has_etag, age = WAYS[way]
    chance, stale = Random(seed), 0

    def version() -> bytes:
        return b"%08d" % int(now() / changes)

    async def app(request: Request) -> Response:
        await asyncio.sleep(0.02)
        page = version() + bytes(size - 8)
        etag = f'"{sha256(page).hexdigest()[:16]}"'
        fields = ([("etag", etag)] if has_etag else []) + ([("cache-control", f"max-age={age}")] if age else [])
        if has_etag and request.headers.get("if-none-match") == etag:
            return Response(b"", 304, fields)
        return Response(page, 200, fields)

    async with Peer(app) as server:
        browsers = [Browser(server) for _ in range(10)]

        async def ask(number: int) -> int:
            nonlocal stale
            page = await chance.choice(browsers).get("/page")
            stale += page[:8] != version()
            return 200

        users = await offer(arrivals(rate, seconds, seed), ask)
        requests = sum(server.metrics.requests.values())
        size = server.metrics.sent + server.metrics.received
    return Outcome(users, requests, size, stale / len(users.visits))


def measure(run: Run[Any]) -> str:
    def each(**how: Any) -> list[Outcome]:
        return [run(site(way, **how)) for way in WAYS]

    page, feed = each(), each(changes=0.05, size=100, rate=2.0)
    return table(list(WAYS), [
        "a page of 20 KB that changes each minute; ten clients, each asks every two seconds",
        ("requests", *(str(outcome.requests) for outcome in page)),
        ("kilobytes, both ways", *(f"{outcome.bytes / 1000:,.0f}" for outcome in page)),
        ("median", *(milliseconds(outcome.users.percentile(50)) for outcome in page)),
        ("answers out of date", *(percent(outcome.stale) for outcome in page)),
        "100 bytes that change 20 times a second",
        ("kilobytes, both ways", *(f"{outcome.bytes / 1000:,.1f}" for outcome in feed)),
        ("answers out of date", *(percent(outcome.stale) for outcome in feed)),
    ])  # fmt: skip


if __name__ == "__main__":
    show(measure)
