r"""RESP: the protocol, and the commands of publish/subscribe, as redis-server 7.0 answers them.

Each case has channels of its own, since all cases share one broker. A transcript has a blank in place of each CRLF:
``*3 $9 subscribe $1 a :1``.
"""

from minproto.prove.case import Case, Pause, Reply, Shut, Step, Trickle, Wait


def command(*words: str) -> bytes:
    """Return a command as an array of bulk strings; each character is one byte."""
    parts = [word.encode("latin-1") for word in words]
    return b"*%d\r\n" % len(parts) + b"".join([b"$%d\r\n%s\r\n" % (len(part), part) for part in parts])


def confirmed(kind: str, name: str, count: int) -> str:
    """Return the pattern of the answer to a subscription (RESP2)."""
    return rf"\*3 \${len(kind)} {kind} \${len(name)} {name} :{count}"


def _case(
    name: str, entry: str, steps: tuple[Step, ...], right: str, acceptable: str = "", why: str = "", also: str = ""
) -> Case:
    return Case(f"resp/{name}", entry, steps, right, acceptable, why, also=(also,) if also else ())


HELLO_3 = command("HELLO", "3")
_HELLO = r"%7 .* \$7 modules \*0 "  # the answer to HELLO 3, whose values differ from server to server
_REFUSED = r"-ERR Protocol error: .* closed"

PROTOCOL = (
    _case("protocol/array", "resp-protocol-array-of-bulks", (command("ECHO", "hi"),), r"\$2 hi open"),
    _case("protocol/byte-by-byte", "resp-protocol-array-of-bulks", (Trickle(command("ECHO", "hi")),), r"\$2 hi open"),
    _case(
        "protocol/not-a-bulk",
        "resp-protocol-bulk-expected",
        (b"*1\r\n:5\r\n",),
        r"-ERR Protocol error: expected '\$', got ':' closed",
        _REFUSED,
        also="resp-protocol-error",
    ),
    _case(
        "protocol/negative-bulk",
        "resp-protocol-bulk-length",
        (b"*1\r\n$-1\r\n",),
        "-ERR Protocol error: invalid bulk length closed",
        _REFUSED,
    ),
    _case(
        "protocol/bulk-of-letters",
        "resp-protocol-bulk-length",
        (b"*1\r\n$x\r\n",),
        "-ERR Protocol error: invalid bulk length closed",
        _REFUSED,
    ),
    _case(
        "protocol/huge-bulk",
        "resp-protocol-bulk-length",
        (b"*1\r\n$99999999999\r\n",),
        "-ERR Protocol error: invalid bulk length closed",
        _REFUSED,
    ),
    _case(
        "protocol/array-of-letters",
        "resp-protocol-array-length",
        (b"*x\r\n",),
        "-ERR Protocol error: invalid multibulk length closed",
        _REFUSED,
    ),
    _case(
        "protocol/huge-array",
        "resp-protocol-array-length",
        (b"*9999999999\r\n",),
        "-ERR Protocol error: invalid multibulk length closed",
        _REFUSED,
    ),
    _case("protocol/binary", "resp-protocol-crlf-after-bulk", (command("ECHO", "\r\n\0$\xff"),), r"\$5  \x00\$\xff open"),
    _case(
        "protocol/other-bytes-behind-a-bulk",
        "resp-protocol-crlf-after-bulk",
        (b"*2\r\n$4\r\nECHO\r\n$2\r\nhixx" + command("PING"),),
        _REFUSED,
        r"\$2 hi \+PONG open|closed",
        "A parser that skips the two bytes behind a string, as Redis does, does not see that the client lost count.",
    ),
    _case("protocol/empty-string", "resp-protocol-crlf-after-bulk", (command("ECHO", ""),), r"\$0 open"),
    _case("protocol/empty-commands", "resp-protocol-empty-command", (b"*0\r\n\r\n*-1\r\n" + command("PING"),), r"\+PONG open"),
    _case(
        "protocol/pipelining",
        "resp-protocol-pipelining",
        (command("PING") + command("ECHO", "a") + command("PING"),),
        r"\+PONG \$1 a \+PONG open",
    ),
    _case(
        "protocol/half-a-command",
        "",
        (command("PING") + b"*1\r\n$4\r\nPI", Shut()),
        r"\+PONG closed",
        r"\+PONG reset",
        "A command that is cut off is not run.",
    ),
    _case(
        "protocol/unknown-command",
        "resp-protocol-error",
        (command("NOPE", "a"),),
        r"-ERR unknown command 'NOPE'.* open",
        "-[A-Z]+ .* open",
    ),
    _case(
        "protocol/an-error-is-no-end",
        "resp-protocol-error",
        (command("NOPE") + command("PING"),),
        r"-ERR unknown command .* \+PONG open",
    ),
    _case("protocol/case", "resp-protocol-case", (command("pInG"),), r"\+PONG open"),
    _case(
        "protocol/too-few-words",
        "resp-protocol-arity",
        (command("ECHO"),),
        "-ERR wrong number of arguments for 'echo' command open",
        "-ERR .* open",
    ),
    _case(
        "protocol/too-many-words",
        "resp-protocol-arity",
        (command("ECHO", "a", "b"),),
        "-ERR wrong number of arguments for 'echo' command open",
        "-ERR .* open",
    ),
    _case(
        "protocol/http-request",
        "resp-protocol-cross-protocol",
        (b"POST / HTTP/1.1\r\n",),
        "(closed|reset)",
    ),
    _case(
        "protocol/http-host",
        "resp-protocol-cross-protocol",
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\nPING\r\n",),
        r"(-ERR .* )?(closed|reset)",
    ),
    _case("inline/words", "resp-inline-words", (b"ECHO   hi  \r\n",), r"\$2 hi open"),
    _case("inline/tabs", "resp-inline-words", (b"ECHO\t \thi \t\r\n",), r"\$2 hi open"),
    _case("inline/lf", "resp-inline-lf", (b"ECHO hi\nPING\r\n",), r"\$2 hi \+PONG open"),
    _case("inline/double-quotes", "resp-inline-quotes", (b'ECHO "a\\x21 \\t"\r\n',), r"\$4 a! \t open"),
    _case("inline/single-quotes", "resp-inline-quotes", (b"ECHO 'a \\' \\n'\r\n",), r"\$6 a ' \\n open"),
    _case(
        "inline/unbalanced",
        "resp-inline-quotes",
        (b'ECHO "a\r\n',),
        "-ERR Protocol error: unbalanced quotes in request closed",
        _REFUSED,
    ),
    _case(
        "inline/endless",
        "resp-inline-too-big",
        (b"x" * 70_000, Pause(0.1)),
        r"-ERR Protocol error: too big inline request (closed|reset)",
        "closed|reset|-ERR.*",
    ),
)

CONNECTION = (
    _case("connection/ping", "resp-PING-pong", (command("PING"),), r"\+PONG open"),
    _case("connection/ping-with-a-word", "resp-PING-pong", (command("PING", "x"),), r"\$1 x open"),
    _case(
        "connection/ping-of-a-subscriber",
        "resp-PING-subscriber",
        (command("SUBSCRIBE", "ping1") + command("PING"),),
        rf"{confirmed('subscribe', 'ping1', 1)} \*2 \$4 pong \$0 open",
    ),
    _case(
        "connection/ping-with-a-word-of-a-subscriber",
        "resp-PING-subscriber",
        (command("SUBSCRIBE", "ping2") + command("PING", "x"),),
        rf"{confirmed('subscribe', 'ping2', 1)} \*2 \$4 pong \$1 x open",
    ),
    _case("connection/echo", "resp-ECHO-echo", (command("ECHO", "hi"),), r"\$2 hi open"),
    _case("connection/hello-3", "resp-HELLO-version", (HELLO_3,), r"%\d+ .*\$5 proto :3 .* open"),
    _case("connection/hello-2", "resp-protocol-resp2-for-resp3", (command("HELLO", "2"),), r"\*\d+ .*\$5 proto :2 .* open"),
    _case("connection/hello-4", "resp-HELLO-version", (command("HELLO", "4"),), "-NOPROTO .* open"),
    _case(
        "connection/hello-sets-a-name",
        "resp-HELLO-auth-and-name",
        (command("HELLO", "2", "SETNAME", "me") + command("CLIENT", "GETNAME"),),
        r"\*\d+ .* \$2 me open",
    ),
    _case("connection/null-of-resp3", "resp-protocol-nulls", (HELLO_3 + command("CLIENT", "GETNAME"),), r"%\d+ .* _ open"),
    _case("connection/null-of-resp2", "resp-protocol-nulls", (command("CLIENT", "GETNAME"),), r"\$-1 open"),
    _case("connection/select-0", "resp-SELECT-only-database", (command("SELECT", "0"),), r"\+OK open"),
    _case(
        "connection/select-far",
        "resp-SELECT-only-database",
        (command("SELECT", "1000"),),
        "-ERR DB index is out of range open",
        "-ERR .* open",
    ),
    _case("connection/select-letters", "resp-SELECT-only-database", (command("SELECT", "x"),), "-ERR .* open"),
    _case("connection/quit", "resp-QUIT-goodbye", (command("QUIT") + command("PING"),), r"\+OK closed", r"\+OK reset"),
    _case(
        "connection/reset",
        "resp-RESET-reset",
        (
            command("CLIENT", "SETNAME", "me")
            + command("SUBSCRIBE", "reset")
            + command("RESET")
            + command("CLIENT", "GETNAME"),
        ),
        rf"\+OK {confirmed('subscribe', 'reset', 1)} \+RESET \$-1 open",
    ),
    _case(
        "connection/reset-ends-resp3",
        "resp-RESET-reset",
        (HELLO_3 + command("RESET") + command("CLIENT", "GETNAME"),),
        r"%\d+ .* \+RESET \$-1 open",
    ),
    _case(
        "connection/name",
        "resp-CLIENT-names",
        (command("CLIENT", "SETNAME", "ab") + command("CLIENT", "GETNAME"),),
        r"\+OK \$2 ab open",
    ),
    _case(
        "connection/name-with-a-blank",
        "resp-CLIENT-names",
        (command("CLIENT", "SETNAME", "a b"),),
        "-ERR Client names cannot contain .* open",
        "-ERR .* open",
    ),
    _case("connection/id", "resp-CLIENT-ids", (command("CLIENT", "ID"),), r":([2-9]|[1-9]\d+) open"),
    _case(
        "connection/exec-without-multi",
        "resp-MULTI-not-run",
        (command("EXEC"),),
        "-ERR EXEC without MULTI open",
        "-ERR .* open",
    ),
    _case(
        "connection/reset-ends-a-transaction",
        "resp-MULTI-not-run",
        (command("MULTI") + command("RESET"),),
        r"(\+OK|-ERR .*) \+RESET open",
    ),
    _case(
        "connection/discarded",
        "resp-MULTI-not-run",
        (command("MULTI") + command("PUBLISH", "multi", "x") + command("DISCARD"),),
        r"\+OK \+QUEUED \+OK open",
        r"(?!.* :0)-ERR .* -ERR .* open",
        "A transaction that is discarded has published nothing.",
    ),
)


def _published(name: str, *setup: bytes) -> tuple[Step, ...]:
    """Return the steps of a client of RESP3 that subscribes and then publishes to itself."""
    return (HELLO_3 + b"".join(setup) + command("PUBLISH", name, "hi"),)


def _push(*words: str) -> str:
    """Return the pattern of a push of RESP3."""
    return rf">{len(words)} " + " ".join(rf"\${len(word)} {word}" for word in words)


def _subscribed(kind: str, name: str, count: int) -> str:
    return rf">3 \${len(kind)} {kind} \${len(name)} {name} :{count}"


PUBSUB = (
    _case(
        "pubsub/confirmations",
        "resp-pubsub-confirmation",
        (command("SUBSCRIBE", "c1", "c2"),),
        rf"{confirmed('subscribe', 'c1', 1)} {confirmed('subscribe', 'c2', 2)} open",
    ),
    _case(
        "pubsub/subscribed-twice",
        "resp-pubsub-confirmation",
        (command("SUBSCRIBE", "c3") + command("SUBSCRIBE", "c3"),),
        rf"{confirmed('subscribe', 'c3', 1)} {confirmed('subscribe', 'c3', 1)} open",
    ),
    _case(
        "pubsub/channels-and-patterns-count-together",
        "resp-pubsub-confirmation",
        (command("SUBSCRIBE", "c4") + command("PSUBSCRIBE", "c4x*"),),
        rf"{confirmed('subscribe', 'c4', 1)} \*3 \$10 psubscribe \$4 c4x\* :2 open",
    ),
    _case(
        "pubsub/message",
        "resp-pubsub-message",
        _published("m1", command("SUBSCRIBE", "m1")),
        rf"{_HELLO}{_subscribed('subscribe', 'm1', 1)} {_push('message', 'm1', 'hi')} :1 open",
        rf"{_HELLO}{_subscribed('subscribe', 'm1', 1)} :1 {_push('message', 'm1', 'hi')} open",
    ),
    _case(
        "pubsub/message-by-pattern",
        "resp-pubsub-message",
        _published("m2b", command("PSUBSCRIBE", "m2?")),
        rf"{_HELLO}>3 \$10 psubscribe \$3 m2\? :1 >4 \$8 pmessage \$3 m2\? \$3 m2b \$2 hi :1 open",
        rf"{_HELLO}>3 \$10 psubscribe \$3 m2\? :1 :1 >4 \$8 pmessage \$3 m2\? \$3 m2b \$2 hi open",
    ),
    _case(
        "pubsub/once-for-each-match",
        "resp-pubsub-once-for-each-match",
        _published("m3", command("SUBSCRIBE", "m3") + command("PSUBSCRIBE", "m3*", "?3")),
        r"(?=.*\$7 message)(?=.*pmessage.*pmessage).*:3 .*:3( .*)? open",
        also="resp-pubsub-receivers",
    ),
    _case("pubsub/no-receiver", "resp-pubsub-receivers", (command("PUBLISH", "nobody-listens", "hi"),), ":0 open"),
    _case(
        "pubsub/too-late",
        "resp-pubsub-at-most-once",
        (command("PUBLISH", "late", "old") + command("SUBSCRIBE", "late"),),
        rf":[01] {confirmed('subscribe', 'late', 1)} open",
    ),
    _case(
        "pubsub/too-late-for-the-channel",
        "resp-pubsub-at-most-once",
        (HELLO_3 + command("PSUBSCRIBE", "la*") + command("PUBLISH", "late1", "x") + command("SUBSCRIBE", "late1"),),
        r"(?!.*\$7 message).*pmessage.* :1 .*subscribe.* open",
        r"(?!.*\$7 message).* :1 .*pmessage.*subscribe.* open",
    ),
    _case(
        "pubsub/leaves-after-the-message",
        "resp-pubsub-at-most-once",
        (HELLO_3 + command("SUBSCRIBE", "late2") + command("PUBLISH", "late2", "x") + command("UNSUBSCRIBE", "late2"),),
        r".*\$7 message .*unsubscribe.* open",
    ),
    _case(
        "pubsub/names-of-other-bytes",
        "resp-pubsub-binary-names",
        (HELLO_3 + command("SUBSCRIBE", "bytes\xff") + command("PUBLISH", "bytes\xfe", "x"),),
        ".* :0 open",
    ),
    _case(
        "pubsub/order",
        "resp-pubsub-order",
        (
            HELLO_3 + command("SUBSCRIBE", "o1", "o2"),
            Wait("o2 :2"),
            b"".join(command("PUBLISH", f"o{number % 2 + 1}", str(number)) for number in range(10, 20)),
        ),
        _HELLO + ".*" + ".* ".join(rf"\$2 o{number % 2 + 1} \$2 {number}" for number in range(10, 20)) + ".* open",
    ),
    _case(
        "pubsub/other-commands",
        "resp-pubsub-subscribed-context",
        (command("SUBSCRIBE", "x1") + command("ECHO", "x"),),
        rf"{confirmed('subscribe', 'x1', 1)} -ERR Can't execute 'echo': .* open",
        rf"{confirmed('subscribe', 'x1', 1)} -ERR .* open",
    ),
    _case(
        "pubsub/other-commands-in-resp3",
        "resp-pubsub-subscribed-context",
        (HELLO_3 + command("SUBSCRIBE", "x2") + command("ECHO", "hi"),),
        rf"{_HELLO}{_subscribed('subscribe', 'x2', 1)} \$2 hi open",
    ),
    _case(
        "pubsub/publish-while-subscribed",
        "resp-pubsub-subscribed-context",
        (command("SUBSCRIBE", "x3") + command("PUBLISH", "x3", "hi"),),
        rf"{confirmed('subscribe', 'x3', 1)} -ERR Can't execute 'publish': .* open",
        rf"{confirmed('subscribe', 'x3', 1)} -ERR .* open",
    ),
    _case(
        "pubsub/after-the-last-subscription",
        "resp-pubsub-subscribed-context",
        (command("SUBSCRIBE", "x4") + command("UNSUBSCRIBE", "x4") + command("ECHO", "hi"),),
        rf"{confirmed('subscribe', 'x4', 1)} {confirmed('unsubscribe', 'x4', 0)} \$2 hi open",
    ),
    _case(
        "pubsub/unsubscribe-from-nothing",
        "resp-pubsub-unsubscribe-all",
        (command("UNSUBSCRIBE"),),
        r"\*3 \$11 unsubscribe \$-1 :0 open",
    ),
    _case(
        "pubsub/unsubscribe-from-all",
        "resp-pubsub-unsubscribe-all",
        (command("SUBSCRIBE", "u1") + command("PSUBSCRIBE", "u2*") + command("UNSUBSCRIBE"),),
        rf"{confirmed('subscribe', 'u1', 1)} \*3 \$10 psubscribe \$3 u2\* :2 {confirmed('unsubscribe', 'u1', 1)} open",
    ),
    _case(
        "pubsub/no-message-after-unsubscribe",
        "resp-pubsub-unsubscribe-all",
        _published("u3", command("SUBSCRIBE", "u3") + command("UNSUBSCRIBE", "u3")),
        rf"{_HELLO}{_subscribed('subscribe', 'u3', 1)} {_subscribed('unsubscribe', 'u3', 0)} :0 open",
    ),
    *(
        _case(
            f"pubsub/pattern-{name}",
            "resp-pubsub-patterns",
            _published(topic, command("PSUBSCRIBE", pattern)),
            rf"{_HELLO}>3.*:{count}( >4.*)? open",
        )
        for name, pattern, topic, count in (
            ("star", "pa*z", "pabcz", 1),
            ("question-mark", "pb?", "pbx", 1),
            ("question-mark-is-one-byte", "pc?", "pc", 0),
            ("set", "pd[xy]", "pdy", 1),
            ("range", "pe[a-c]", "peb", 1),
            ("not-in-the-set", "pf[^a]", "pfa", 0),
            ("escaped-star", r"pg\*", "pgx", 0),
            ("whole-name", "ph", "phx", 0),
            ("case", "PI*", "pix", 0),
        )
    ),
    _case(
        "pubsub/binary-name",
        "resp-pubsub-binary-names",
        (command("SUBSCRIBE", "b\x00\r\n"),),
        r"\*3 \$9 subscribe \$4 b\x00  :1 open",
    ),
    _case(
        "pubsub/channels",
        "resp-PUBSUB-channels",
        (HELLO_3 + command("SUBSCRIBE", "ch1") + command("PUBSUB", "CHANNELS", "ch1*"),),
        rf"{_HELLO}{_subscribed('subscribe', 'ch1', 1)} \*1 \$3 ch1 open",
    ),
    _case(
        "pubsub/channels-without-patterns",
        "resp-PUBSUB-channels",
        (HELLO_3 + command("PSUBSCRIBE", "ch2*") + command("PUBSUB", "CHANNELS", "ch2*"),),
        rf"{_HELLO}>3 .* \*0 open",
    ),
    _case(
        "pubsub/channels-of-another-pattern",
        "resp-PUBSUB-channels",
        (HELLO_3 + command("SUBSCRIBE", "ch3") + command("PUBSUB", "CHANNELS", "no-ch3*"),),
        rf"{_HELLO}{_subscribed('subscribe', 'ch3', 1)} \*0 open",
    ),
    _case(
        "pubsub/numsub",
        "resp-PUBSUB-numsub",
        (HELLO_3 + command("SUBSCRIBE", "ns1") + command("PUBSUB", "NUMSUB", "ns1", "ns2"),),
        rf"{_HELLO}{_subscribed('subscribe', 'ns1', 1)} \*4 \$3 ns1 :1 \$3 ns2 :0 open",
    ),
    _case(
        "pubsub/numpat",
        "resp-PUBSUB-numpat",
        (HELLO_3 + command("PSUBSCRIBE", "np1*") + command("PUBSUB", "NUMPAT"),),
        rf"{_HELLO}>3 .* :[1-9]\d* open",
    ),
    _case("streams/range-of-nothing", "resp-streams-range", (command("XRANGE", "no-such-stream", "-", "+"),), r"\*0 open"),
    _case(
        "streams/newest-entry",
        "resp-streams-range",
        (
            command("PUBLISH", "minproto-prove", "a") + command("PUBLISH", "minproto-prove", "b"),
            command("XREVRANGE", "minproto-prove", "+", "-", "COUNT", "1"),
            Reply(
                r" \$\d+ (\d+-\d+) \*2 \$4 data \$1 b open",
                b"XRANGE minproto-prove ({1} +\r\nXRANGE minproto-prove {1} {1}\r\nXREAD STREAMS minproto-prove {1}\r\n",
            ),
        ),
        r":\d+ :\d+ (\*1 \*2 \$\d+ \d+-\d+ \*2 \$4 data \$1 b) \*0 \1 (\*|\$)-1 open|:\d+ :\d+ \*0 open",
        why="In our broker a published message is an entry of the topic's stream; in Redis the two have nothing in common.",
        also="resp-streams-read-after",
    ),
    _case("streams/length-of-nothing", "resp-streams-length", (command("XLEN", "no-such-stream"),), ":0 open"),
    _case(
        "streams/read-of-nothing",
        "resp-streams-read-after",
        (command("XREAD", "STREAMS", "no-such-stream", "0"),),
        r"(\*|\$)-1 open",
    ),
    _case(
        "streams/block", "resp-streams-block", (command("XREAD", "BLOCK", "0", "STREAMS", "no-such-stream", "$"),), "silent"
    ),
    _case(
        "streams/block-for-a-while",
        "resp-streams-block",
        (command("XREAD", "BLOCK", "50", "STREAMS", "no-such-stream", "$"), Wait("-1")),
        r"(\*|\$)-1 open",
    ),
    _case(
        "streams/read-of-nothing-in-resp3",
        "resp-protocol-nulls",
        (HELLO_3 + command("XREAD", "STREAMS", "no-such-stream", "0"),),
        "%.* _ open",
    ),
    _case(
        "streams/id-above-64-bits",
        "resp-streams-ids-valid",
        (command("XRANGE", "no-such-stream", "99999999999999999999-1", "+"),),
        "-ERR Invalid stream ID .* open",
        "-ERR .* open",
    ),
    _case(
        "streams/invalid-id",
        "resp-streams-ids-valid",
        (command("XRANGE", "no-such-stream", "x", "+"),),
        "-ERR Invalid stream ID .* open",
        "-ERR .* open",
    ),
)

HOSTILE = (
    _case(
        "hostile/many-empty-commands",
        "",
        (b"*0\r\n" * 20_000 + command("PING"),),
        r"\+PONG open",
        "(-ERR .* )?(closed|reset)",
        "Commands that are none cost nothing, and hold up nobody.",
    ),
    _case(
        "hostile/many-patterns",
        "",
        (b"".join(command("PSUBSCRIBE", f"hostile{number}*") for number in range(2_000)), Wait(":2000")),
        r".*:2000 open",
        r".*-ERR .*|.*closed|.*reset",
        "Each subscription takes memory: a limit for them is allowed.",
    ),
    _case(
        "hostile/pattern-of-stars",
        "",
        (
            HELLO_3 + command("PSUBSCRIBE", "*a" * 200 + "b") + command("PUBLISH", "a" * 400, "x") + command("PING"),
            Wait("PONG"),
        ),
        r".* :0 \+PONG open",
        r".*-ERR .* open|.*closed",
        "A pattern with many stars takes a naive matcher longer than the age of the universe.",
    ),
)

CASES = (*PROTOCOL, *CONNECTION, *PUBSUB, *HOSTILE)
