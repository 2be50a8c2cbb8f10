"""Law 13 for HTTP/1.1: the fast core is the plain one, and a planted difference in each of its methods is found."""

from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

import minproto.fast.http1
from minproto import http1
from minproto.core import Role
from minproto.http import Data, EndOfMessage, Headers, RequestHead, ResponseHead
from minproto.http1 import IDLE, NO_CONTENT, PreparedHead
from minproto.testing import strategies
from minproto.testing.agreement import MAX_CALLS, Pair, agrees, lockstep
from minproto.testing.subjects import SMALL

LINES = [
    [("content-length", "0")], [("content-length", "3")], [("content-length", "x")], [("transfer-encoding", "chunked")],
    [("connection", "close")], [("connection", "keep-alive")], [("upgrade", "x"), ("connection", "upgrade")],
    [("expect", "100-continue")], [("set-cookie", "a=b")], [("x", "y")], [("X", "y")], [("x", " y")], [("x", "a\r\nb: c")],
    [("", "")], [["x", "y"]], ["te"], [("x", 1)], [("x", True)],
]  # fmt: skip
_headers = st.lists(st.sampled_from(LINES), max_size=3).map(lambda parts: Headers(chain.from_iterable(parts)))
_asked = _headers.map(lambda headers: Headers([("host", "a"), *headers])) | _headers
_statuses = st.sampled_from([99, 100, 101, 200, 200, 200, 204, 205, 304, 404, 500, 600])
_versions = st.sampled_from(["1.1", "1.1", "1.1", "1.0", "2"])
_content = st.sampled_from([b"", b"abc", b"abc", b"abcd" * 9])
_heads = st.builds(PreparedHead, _statuses, _headers, _versions) | st.builds(ResponseHead, _statuses, _headers, _versions)
_responses = st.builds(ResponseHead, _statuses, _headers, _versions)
_requests = st.builds(RequestHead, st.sampled_from(["GET", "HEAD", "POST", "CONNECT"]), st.sampled_from(["/", "a:1", "/ x"]),
                      _asked, _versions)  # fmt: skip
_rest = st.builds(Data, _content) | st.builds(EndOfMessage) | st.builds(EndOfMessage, _headers)
_calls = st.just(("skip_empty_body",)) | st.tuples(st.just("send_whole"), _heads, _content)

# Conversations in which nearly all is right, so that they go on for several exchanges.
_right = st.builds(PreparedHead, st.sampled_from([200, 404]), st.sampled_from([Headers(), Headers([("x", "y")])]))
_whole = st.tuples(st.just("send_whole"), _right, st.sampled_from([b"", b"abc"]))
_requests_that_are_right = st.lists(
    st.sampled_from([
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"\r\nGET / HTTP/1.1\r\nHost: a\r\nCookie: b\r\n\r\n",
        b"\rGET / HTTP/1.1\r\n\r\n", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n",
    ]),
    min_size=1, max_size=5,
).map(b"".join)  # fmt: skip
_responses_that_are_right = st.lists(
    st.sampled_from([
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"HTTP/1.1 204 \r\n\r\n", b"HTTP/1.1 204\r\nA: b\r\n c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\tc\r\n\r\n", b"HTTP/1.1 100 \r\n\r\n",
    ]),
    min_size=1, max_size=5,
).map(b"".join)  # fmt: skip


def pair(role: Role, fast: type[http1.Connection] = minproto.fast.http1.Connection) -> Pair:
    """Anything in any order."""

    def make() -> tuple[http1.Connection, http1.Connection]:
        return fast(role, SMALL), http1.Connection(role, SMALL)

    if role is Role.SERVER:
        return Pair(make, strategies.request_streams, _responses | _rest, _calls | _whole)
    return Pair(make, strategies.response_streams, _requests | _rest, _calls)


def talk(role: Role, fast: type[http1.Connection] = minproto.fast.http1.Connection) -> Pair:
    """Requests and responses that are right. A client asks without being told."""

    class Asking(fast):  # type: ignore[misc, valid-type]
        def next_event(self):
            ask(self)
            return super().next_event()

    class PlainAsking(http1.Connection):
        def next_event(self):
            ask(self)
            return super().next_event()

    def ask(core: http1.Connection) -> None:
        if role is Role.CLIENT and core.request is IDLE:
            core.send(RequestHead("GET", "/", Headers([("host", "a")])))
            core.send(EndOfMessage())

    streams = _requests_that_are_right if role is Role.SERVER else _responses_that_are_right
    calls = st.just(("skip_empty_body",)) | _whole | _whole if role is Role.SERVER else st.just(("skip_empty_body",))
    return Pair(lambda: (Asking(role, SMALL), PlainAsking(role, SMALL)), streams, calls=calls)


@pytest.mark.parametrize("role", Role)
def test_the_fast_core_is_the_plain_one_in_a_talk(role: Role) -> None:
    agrees(talk(role))


@pytest.mark.parametrize("role", Role)
def test_the_fast_core_is_the_plain_one(role: Role) -> None:
    agrees(pair(role))


Fast = minproto.fast.http1.Connection


class Folds(Fast):
    """Takes a folded line for a field of its own."""

    class head_reader(Fast.head_reader):
        def _parse(self, text):
            return super()._parse(text.replace("\r\n ", "\r\nx:"))


class ManyFields(Fast):
    """Reads one field more than the limit has."""

    class head_reader(Fast.head_reader):
        def _parse(self, text):
            if text.count("\r\n") == self._limits.max_headers + (self._first_part != "name"):
                text = text.rpartition("\r\n")[0]
            return super()._parse(text)


class Stuck(Fast):
    """Forgets that a part of the head was read already."""

    class head_reader(Fast.head_reader):
        def _begin(self):
            if not getattr(self, "_part", None):
                super()._begin()


class Stale(Fast):
    """Takes the fields of the last head for those of the next."""

    class head_reader(Fast.head_reader):
        def _parse(self, text):
            if self._last_fields:
                self._last_lines = text.partition("\r\n")[2]
            return super()._parse(text)


class Shared(Fast):
    """Gives the app the list that it remembers."""

    class head_reader(Fast.head_reader):
        def _parse(self, text):
            head = super()._parse(text)
            if head is not None:
                self._last_fields = head[1]
            return head


class Unskipped(Fast):
    """Takes an empty line for a request."""

    def _skip_empty_lines(self):
        return self._buffer.size > 0


class Bodiless(Fast):
    """Takes content of one byte for none."""

    def _body_reader(self, framing):
        return super()._body_reader(NO_CONTENT if framing == http1.ContentLength(3) else framing)


class Persistent(Fast):
    """Does not see that the request wants the connection closed."""

    def _begin_exchange(self, head, handling):
        super()._begin_exchange(head, handling)
        self.keep_alive = True


class Impatient(Fast):
    """Skips the end of content that is there."""

    def skip_empty_body(self):
        self._body = None
        return super().skip_empty_body()


class Closed(Fast):
    """Sends a prepared head that closes, and goes on."""

    def send_whole(self, head, content):
        whole = super().send_whole(head, content)
        self.keep_alive = True
        return whole


class Talkative(Fast):
    """Sends content in answer to HEAD."""

    def send_whole(self, head, content):
        self._method = "GET" if self._method == "HEAD" else self._method
        return super().send_whole(head, content)


class Careless(Fast):
    """Sends a field that is not valid."""

    @staticmethod
    def encode_fields(headers):
        return "".join(f"{name}: {value}\r\n" for name, value in headers if name != "X") if headers else ""


class Unexpected(Fast):
    """Does not see that a client waits for a 100."""

    @staticmethod
    def request_handling(version, headers, fault):
        return minproto.fast.http1.request_handling(version, headers, fault)._replace(expects_continue=False)


WRONG = [  # and where it shows
    (Folds, talk, Role.CLIENT), (ManyFields, pair, Role.SERVER), (Stuck, talk, Role.CLIENT), (Stale, talk, Role.SERVER),
    (Shared, talk, Role.SERVER), (Unskipped, talk, Role.SERVER),
    (Bodiless, talk, Role.SERVER), (Persistent, talk, Role.SERVER), (Impatient, talk, Role.CLIENT),
    (Closed, talk, Role.SERVER), (Talkative, talk, Role.SERVER), (Careless, pair, Role.SERVER),
    (Unexpected, talk, Role.SERVER),
]  # fmt: skip
_GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
TELLING: dict[type[http1.Connection], dict[str, Any]] = {  # what few examples would have otherwise
    ManyFields: {"streams": st.just(_GET + b"x: y\r\n" * SMALL.max_headers + b"\r\n")},
    Shared: {"streams": st.just((_GET + b"\r\n") * 3)},
    Careless: {"streams": st.just(_GET + b"\r\n"), "events": st.just(ResponseHead(200, Headers([("X", "y")])))},
    Unexpected: {"streams": st.just(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc")},
}


@pytest.mark.parametrize(("wrong", "kind", "role"), WRONG)
def test_a_planted_difference_is_found(
    wrong: type[http1.Connection], kind: Callable[[Role, type[http1.Connection]], Pair], role: Role
) -> None:
    # The search ends at the first difference. Which examples it tries depends on the constants in minproto's source, which
    # Hypothesis uses. So the maximum is ten times as high as most searches need.
    only_search = settings(
        derandomize=True, phases=[Phase.generate], max_examples=1_500, stateful_step_count=MAX_CALLS, deadline=None
    )
    with pytest.raises((AssertionError, ValueError)):
        run_state_machine_as_test(lockstep(replace(kind(role, wrong), **TELLING.get(wrong, {}))), settings=only_search)


def test_the_memories_hold_no_secret_and_are_bounded() -> None:
    """They are shared by all connections of a process."""
    fast = minproto.fast.http1
    secrets = ["Cookie: a=1", "AUTHORIZATION: b", "Proxy-Authorization: c", "Set-Cookie: d=1"]
    core = Fast(Role.SERVER)
    for number in range(1_000):
        lines = ["GET / HTTP/1.1", "Host: a", *secrets, f"x-n: {number}", "", ""]
        core.receive_data("\r\n".join(lines).encode())
        assert len(list(core.events())) == 2
        core.send_whole(PreparedHead(200, Headers([("set-cookie", "d=1"), ("x-n", str(number))])), b"")
    assert 0 < len(fast._parsed) <= 256
    assert 0 < len(fast._encoded) <= 256
    assert not [line for line in fast._parsed if line in secrets]
    assert not [field for field in fast._encoded if field[0] == "set-cookie"]
