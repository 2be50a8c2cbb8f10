r"""RESP: shard channels, and what CLIENT and COMMAND say, as redis-server 7.0 answers them."""

from minproto.prove.case import Case, Step
from minproto.prove.cases.resp import HELLO_3, command


def _case(name: str, entry: str, steps: tuple[Step, ...], right: str, also: str = "") -> Case:
    return Case(f"resp/{name}", entry, steps, right, also=(also,) if also else ())


def _subscribed(kind: str, name: str, count: int) -> str:
    """Return the pattern of the answer to a subscription (RESP3)."""
    return rf">3 \${len(kind)} {kind} \${len(name)} {name} :{count}"


_HELLO = r"%7 .* \$7 modules \*0 "  # the answer to HELLO 3, whose values differ from server to server

CASES = (
    _case(
        "pubsub/shard-apart",
        "resp-SSUBSCRIBE-apart",
        (HELLO_3 + command("SSUBSCRIBE", "sh1") + command("PUBLISH", "sh1", "a") + command("SPUBLISH", "sh1", "b"),),
        rf"{_HELLO}{_subscribed('ssubscribe', 'sh1', 1)} :0 >3 \$8 smessage \$3 sh1 \$1 b :1 open",
        also="resp-SPUBLISH-receivers",
    ),
    _case(
        "pubsub/shard-count",
        "resp-SSUBSCRIBE-count",
        (HELLO_3 + command("SUBSCRIBE", "sh2") + command("SSUBSCRIBE", "sh3") + command("SUBSCRIBE", "sh4"),),
        _HELLO + " ".join(_subscribed(*each) for each in (("subscribe", "sh2", 1), ("ssubscribe", "sh3", 1)))
        + " " + _subscribed("subscribe", "sh4", 2) + " open",
    ),
    _case(
        "pubsub/shard-unsubscribe",
        "resp-SUNSUBSCRIBE-all",
        (HELLO_3 + command("SSUBSCRIBE", "sh5") + command("SUNSUBSCRIBE") + command("SUNSUBSCRIBE"),),
        rf"{_HELLO}{_subscribed('ssubscribe', 'sh5', 1)} "
        r">3 \$12 sunsubscribe \$3 sh5 :0 >3 \$12 sunsubscribe (_|\$-1) :0 open",
    ),
    _case(
        "pubsub/shards",
        "resp-PUBSUB-shards",
        (
            HELLO_3 + command("SSUBSCRIBE", "sh6") + command("PUBSUB", "SHARDCHANNELS", "sh6*")
            + command("PUBSUB", "SHARDNUMSUB", "sh6", "sh7"),
        ),
        rf"{_HELLO}{_subscribed('ssubscribe', 'sh6', 1)} \*1 \$3 sh6 \*4 \$3 sh6 :1 \$3 sh7 :0 open",
    ),
    _case(
        "client/list",
        "resp-CLIENT-list",
        (command("CLIENT", "SETNAME", "prove-1") + command("CLIENT", "INFO") + command("CLIENT", "LIST", "TYPE", "master"),),
        r"\+OK \$\d+ id=\d+ addr=.* name=prove-1 .* flags=N .* resp=2[^$]* \$0 +open",
    ),
    _case(
        "client/reply",
        "resp-CLIENT-reply",
        (
            b"".join(command(*words.split()) for words in (
                "CLIENT REPLY OFF", "ECHO 1", "CLIENT REPLY ON", "CLIENT REPLY SKIP", "ECHO 2", "ECHO 3",
            )),
        ),
        r"\+OK \$1 3 open",
    ),
    _case("client/no-evict", "resp-CLIENT-no-evict", (command("CLIENT", "NO-EVICT", "ON"),), r"\+OK open"),
    _case(
        "command/docs",
        "resp-COMMAND-docs",
        (HELLO_3 + command("COMMAND", "DOCS", "echo", "no-such-command"),),
        rf"{_HELLO}%1 \$4 echo %\d+ \$7 summary \$\d+ .* \$5 since \$5 1\.0\.0 \$5 group \$10 connection .* open",
    ),
)
