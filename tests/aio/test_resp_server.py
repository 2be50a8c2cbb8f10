"""The broker's server as Redis clients see it: sessions, publish and subscribe, a topic's history as a stream."""

import asyncio
import re
from contextlib import suppress

import pytest
from harness import FIN, RST, now, virtual
from hypothesis import given
from hypothesis import strategies as st
from resp_harness import NULL_ARRAY, OK, PONG, Client, command, serving

from minproto import Broker
from minproto.command_docs import DOCS
from minproto.commands import COMMANDS
from minproto.core import RemoteProtocolError
from minproto.prove import ledger
from minproto.resp import Error, Map, Push, Simple
from minproto.testing import clock
from minproto.testing.cuts import cut

ONLY = "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
WRONGPASS = Error("WRONGPASS invalid username-password pair or user is disabled.")
NOAUTH = Error("NOAUTH Authentication required.")
NO_ID = Error("ERR Invalid stream ID specified as stream command argument")


def arity(name):
    return Error(f"ERR wrong number of arguments for '{name}' command")


# ---- what clients say when they connect ------------------------------------------------------------------------------

CONVERSATION = [
    ("PING", PONG), ("ping hi", b"hi"), ("ping a b", arity("ping")), ("echo hi", b"hi"), ("echo", arity("echo")),
    ("foo", Error("ERR unknown command 'foo', with args beginning with: ")),
    ("FoO a 'b\\'c'", Error("ERR unknown command 'FoO', with args beginning with: 'a' 'b'c' ")),
    (f"foo {'a' * 120} {'b' * 60} c", Error(f"ERR unknown command 'foo', with args beginning with: '{'a' * 120}' 'bbbbb' ")),
    (f"foo {'a' * 124} bc", Error(f"ERR unknown command 'foo', with args beginning with: '{'a' * 124}' 'b' ")),
    (f"foo {'a' * 125} bc", Error(f"ERR unknown command 'foo', with args beginning with: '{'a' * 125}' ")),
    (f"{'x' * 200}", Error(f"ERR unknown command '{'x' * 128}', with args beginning with: ")),
    ("select 0", OK), ("select 1", Error("ERR DB index is out of range")),
    ("select -1", Error("ERR DB index is out of range")),
    ("select x", Error("ERR value is not an integer or out of range")),
    ("select 2147483648", Error("ERR value is out of range, value must between -2147483648 and 2147483647")),
    ("client getname", None), ("client setname me", OK), ("client getname", b"me"), ('client setname ""', OK),
    ("client getname", None),
    ("client setname 'a b'", Error("ERR Client names cannot contain spaces, newlines or special characters.")),
    ("client setinfo lib-name x", OK), ("client setinfo x x", Error("ERR Unrecognized option 'x'")),
    ("client", arity("client")), ("client id x", arity("client|id")),
    ("client foo", Error("ERR unknown subcommand 'foo'. Try CLIENT HELP.")), ("auth default x", OK), ("auth a b", WRONGPASS),
    ("auth a b c", Error("ERR syntax error")),
    ("auth x", Error("ERR AUTH <password> called without any password configured for the default user. "
     "Are you sure your configuration is correct?")),
    ("hello 4", Error("NOPROTO unsupported protocol version")),
    ("hello x", Error("ERR Protocol version is not an integer or out of range")),
    ("hello 2 x", Error("ERR Syntax error in HELLO option 'x'")),
    ("hello 2 auth x", Error("ERR Syntax error in HELLO option 'auth'")),
    ("hello 2 setname me x", Error("ERR Syntax error in HELLO option 'x'")), ("client setname ''", OK),
    ("hello 2 auth x y", WRONGPASS), ("hello 2 setname 'a b'",
     Error("ERR Client names cannot contain spaces, newlines or special characters.")),
    ("publish a", arity("publish")), ("publish a b", 0), ("subscribe", arity("subscribe")), ("reset x", arity("reset")),
    ("reset", Simple("RESET")), ("pubsub", arity("pubsub")), ("pubsub channels", []), ("pubsub numpat", 0),
    ("pubsub numsub", []),
    ("pubsub numpat x", arity("pubsub|numpat")), ("pubsub foo", Error("ERR unknown subcommand 'foo'. Try PUBSUB HELP.")),
    ("pubsub channels a b",
     Error("ERR unknown subcommand or wrong number of arguments for 'channels'. Try PUBSUB HELP.")),
    ("command count x", arity("command|count")),
    ("command docs nosuch", []),
    ("command info nosuch", [None]), ("info nosuch", b""),
    ("unsubscribe", [b"unsubscribe", None, 0]), ("punsubscribe", [b"punsubscribe", None, 0]),
    ("exec", Error("ERR EXEC without MULTI")), ("discard", Error("ERR DISCARD without MULTI")),
    ("exec x", Error("EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command")),
    ("discard x", arity("discard")), ("multi x", arity("multi")), ("watch", arity("watch")),
    ("client tracking on", Error("ERR unknown subcommand 'tracking'. Try CLIENT HELP.")),
    ("spublish a b", 0), ("spublish a", arity("spublish")), ("ssubscribe", arity("ssubscribe")),
    ("sunsubscribe", [b"sunsubscribe", None, 0]), ("pubsub shardchannels", []), ("pubsub shardnumsub a", [b"a", 0]),
    ("pubsub shardchannels a b",
     Error("ERR unknown subcommand or wrong number of arguments for 'shardchannels'. Try PUBSUB HELP.")),
    ("client list foo", Error("ERR syntax error")), ("client list type foo", Error("ERR Unknown client type 'foo'")),
    ("client list type replica", b""), ("client list id x", Error("ERR Invalid client ID")),
    ("client list id 999999", b""), ("client list id", Error("ERR syntax error")), ("client info x", arity("client|info")),
    ("client no-evict on", OK), ("client no-evict x", Error("ERR syntax error")),
    ("client no-evict", arity("client|no-evict")),
    ("client reply on", OK), ("client reply x", Error("ERR syntax error")), ("client reply", arity("client|reply")),
]  # fmt: skip


@virtual
async def test_a_conversation():
    """Word for word as redis-server 7.0 answers; tests/interop compares with it."""
    async with serving() as server:
        client = server.client()
        for words, answer in CONVERSATION:
            client.pipe.write(words.encode() + b"\r\n")
            assert await client.reply() == answer, words


ABORTED = Error("EXECABORT Transaction discarded because of previous errors.")


def not_run(name):
    return Error(f"ERR '{name}' has not been run: MULTI was refused, and every command after it until DISCARD or EXEC")


@virtual
async def test_of_a_transaction_nothing_is_run():
    """A client sends it in one piece, and would send it again when EXEC fails: what had run by then would run twice."""
    async with serving() as server:
        client, listener = server.client(), server.client()
        await listener.subscribe("a")
        client.pipe.write(b"".join([command(*words.split()) for words in ("multi", "publish a x", "xlen a", "exec", "ping")]))
        refused, *others = await client.replies(5)
        assert refused.text.startswith("ERR unknown command 'MULTI': this broker has no transactions")
        assert others == [not_run("publish"), not_run("xlen"), ABORTED, PONG]
        assert await client.ask("publish", "a", "after") == 1
        assert await listener.messages(1) == [b"after"]


@pytest.mark.parametrize("end", ["exec", "discard", "reset"])
@virtual
async def test_what_may_be_said_within_a_transaction(end):
    """What redis-server answers there at once; nothing else is done, whatever it is."""
    async with serving(password="secret") as server:
        client = server.client()
        assert (await client.ask("multi"), await client.ask("auth", "secret")) == (NOAUTH, OK)
        assert await client.ask("exec") == Error("ERR EXEC without MULTI")  # a MULTI without the password began nothing
        assert (await client.ask("multi")).text.startswith("ERR unknown command 'MULTI'")
        assert await client.ask("multi") == Error("ERR MULTI calls can not be nested")
        assert await client.ask("watch", "a") == Error("ERR WATCH inside MULTI is not allowed")
        for words in ("auth secret", "hello 3", "subscribe a", "psubscribe a*", "xread block 0 streams a $", "ping"):
            assert await client.ask(*words.split()) == not_run(words.split()[0])
        assert await client.ask("unwatch") == Error("ERR unknown command 'unwatch', with args beginning with: ")
        assert await client.ask("discard", "x") == arity("discard")
        assert await client.ask("ping") == not_run("ping")
        assert await client.ask(end) == {"exec": ABORTED, "discard": OK, "reset": Simple("RESET")}[end]
        assert (await client.ask("auth", "secret"), await client.ask("ping")) == (OK, PONG)
        assert await client.ask("exec") == Error("ERR EXEC without MULTI")


@virtual
async def test_a_transaction_may_end_with_the_connection():
    async with serving() as server:
        client, wrong = server.client(), server.client()
        for one in (client, wrong):
            await one.ask("multi")
        assert await wrong.ask("exec", "x") == Error(
            "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command"
        )
        assert await wrong.ask("ping") == PONG
        assert await client.ask("quit") == OK
        assert await client.end() == FIN


@virtual
async def test_hello():
    """It says who we are, and changes the version of what comes from then on, itself among it."""
    async with serving() as server:
        client = server.client()
        number = await client.ask("client", "id")
        two = await client.ask("hello")
        assert two[0:2] == [b"server", b"redis"] and two[4:8] == [b"proto", 2, b"id", number]
        three = await client.ask("hello", "3", "setname", "me")
        assert three == Map(list(zip([*two[::2]], [*two[1:5:2], 3, *two[7::2]], strict=True)))
        assert await client.ask("client", "getname") == b"me"
        assert await client.ask("client", "setname", "") == OK
        client.pipe.write(command("client", "getname"))
        assert await client.pipe.read() == b"_\r\n"
        assert await client.ask("reset") == Simple("RESET")
        client.pipe.write(command("client", "getname"))
        assert await client.pipe.read() == b"$-1\r\n"


@virtual
async def test_each_client_has_a_number():
    async with serving() as server:
        assert [await server.client().ask("client", "id") for _ in range(3)] == [1, 2, 3]


@virtual
async def test_info_and_command_say_what_there_is():
    async with serving() as server:
        client = server.client()
        info = await client.ask("info")
        assert re.match(rb"# Server\r\nredis_version:7\.0\.\d+\r\n", info) and b"\r\n\r\n# Stats\r\n" in info
        assert await client.ask("info", "CLIENTS") == b"# Clients\r\nconnected_clients:1\r\n"
        listed = {entry[0]: entry[1] for entry in await client.ask("command")}
        assert listed[b"publish"] == 3 and listed[b"subscribe"] == -2
        assert await client.ask("command", "count") == len(listed)
        assert [entry and entry[0] for entry in await client.ask("command", "info", "PING", "x")] == [b"ping", None]


@virtual
async def test_quit():
    """What was sent behind it is not done."""
    async with serving() as server:
        client = server.client()
        client.pipe.write(command("ping") + command("quit", "x") + command("ping"))
        assert await client.replies(2) == [PONG, OK]
        assert await client.end() == FIN


@virtual
async def test_who_has_said_quit_hears_no_more():
    """Though the connection lingers until the client closes its end, too."""
    async with serving() as server:
        client = server.client()
        await client.subscribe("a")
        assert await client.ask("quit") == OK
        assert server.broker.publish("a", b"x") == 0
        assert await client.end() == FIN


@virtual
async def test_the_end_of_input_ends_the_connection_when_all_is_answered():
    async with serving() as server:
        client = server.client()
        client.pipe.write(command("ping") * 3 + command("ping")[:-1])
        client.pipe.close_write()
        assert await client.replies(3) == [PONG] * 3
        assert await client.end() == FIN


@given(positions=st.lists(st.integers(0, 200), max_size=6))
def test_any_cutting(positions):
    """A pipeline may come apart anywhere."""

    async def test():
        async with serving() as server:
            client = server.client()
            data = command("subscribe", "a") + b"PING x\r\n" + command("unsubscribe") + command("publish", "a", "b" * 50)
            for piece in cut(data, [at for at in positions if at <= len(data)]):
                client.pipe.write(piece)
                await asyncio.sleep(0)
            answers = await client.replies(4)
            assert answers == [[b"subscribe", b"a", 1], [b"pong", b"x"], [b"unsubscribe", b"a", 0], 0]

    clock.run(test())


EXAMPLES = [entry for entry in ledger.load() if (entry.stream, entry.role) == ("resp", "server") and entry.right_gives]


@pytest.mark.parametrize("entry", EXAMPLES, ids=lambda entry: entry.id)
@virtual
async def test_the_examples_of_the_ledger_are_what_the_server_sends(entry):
    """The ledger runs its examples without a shell. Only the ids of a history, which depend on the time, may differ.

    The broker's clock stands still, as it does in the ledger: a busy machine may take a millisecond between two commands, and
    XPENDING would show it.
    """
    async with serving() as server:
        stopped = server.broker.inner.clock()
        server.broker.inner.clock = lambda: stopped
        client = server.client()
        client.pipe.write(entry.right)
        client.pipe.close_write()
        sent = b""
        with suppress(ConnectionResetError):  # a browser is cut off
            while piece := await client.pipe.read():
                sent += piece
    ids = re.compile(rb"[0-9]{13}-[0-9]+")
    assert ids.sub(b"", sent) == ids.sub(b"", entry.right_gives.removesuffix("(closed)").encode("latin-1"))


# ---- the password ----------------------------------------------------------------------------------------------------


@virtual
async def test_nothing_but_the_password_comes_first():
    async with serving(password="secret") as server:
        client = server.client()
        for words in ("ping", "publish a b", "subscribe a", "xlen a", "client id", "info", "command"):
            assert await client.ask(*words.split()) == NOAUTH
        assert await client.ask("foo") == Error("ERR unknown command 'foo', with args beginning with: ")
        assert await client.ask("echo") == arity("echo")
        assert (await client.ask("hello", "3")).text.startswith("NOAUTH HELLO must be called")
        for wrong in ("secre", "secret2", "", "SECRET"):
            assert await client.ask("auth", wrong) == WRONGPASS
        assert await client.ask("auth", "other", "secret") == WRONGPASS
        assert await client.ask("hello", "2", "auth", "default", "x") == WRONGPASS
        assert await client.ask("ping") == NOAUTH
        assert await client.ask("auth", "secret") == OK
        assert await client.ask("auth", "x") == WRONGPASS  # which takes nothing away
        assert await client.ask("ping") == PONG
        assert await client.ask("reset") == Simple("RESET")
        assert await client.ask("ping") == NOAUTH
        assert isinstance(await client.ask("hello", "3", "auth", "default", "secret"), Map)
        assert await client.ask("ping") == PONG


@virtual
async def test_quit_needs_no_password():
    async with serving(password="secret") as server:
        client = server.client()
        assert await client.ask("quit") == OK
        assert await client.end() == FIN


# ---- publish and subscribe -------------------------------------------------------------------------------------------


@virtual
async def test_messages_arrive_once_for_each_match():
    """A client that listens by a topic and two patterns gets three, and they count as three."""
    async with serving() as server:
        client, publisher = server.client(), server.client()
        await client.subscribe("news")
        await client.subscribe("n*", "?ews", by="psubscribe")
        assert await publisher.ask("publish", "news", "hi") == 3
        assert await publisher.ask("publish", "nothing", "ho") == 1
        assert await publisher.ask("publish", "other", "x") == 0
        assert await client.replies(4) == [
            [b"message", b"news", b"hi"], [b"pmessage", b"n*", b"news", b"hi"], [b"pmessage", b"?ews", b"news", b"hi"],
            [b"pmessage", b"n*", b"nothing", b"ho"],
        ]  # fmt: skip


@virtual
async def test_confirmations_count():
    """Over topics and patterns; who asks twice is told twice; who leaves all is told of each."""
    async with serving() as server:
        client = server.client()
        client.pipe.write(command("subscribe", "a", "a", "b") + command("psubscribe", "p*") + command("unsubscribe", "x", "a"))
        assert await client.replies(6) == [
            [b"subscribe", b"a", 1], [b"subscribe", b"a", 1], [b"subscribe", b"b", 2], [b"psubscribe", b"p*", 3],
            [b"unsubscribe", b"x", 3], [b"unsubscribe", b"a", 2],
        ]  # fmt: skip
        client.pipe.write(command("unsubscribe") + command("unsubscribe") + command("punsubscribe"))
        assert await client.replies(3) == [
            [b"unsubscribe", b"b", 1], [b"unsubscribe", None, 1], [b"punsubscribe", b"p*", 0]
        ]  # fmt: skip
        assert await client.ask("ping") == PONG


@virtual
async def test_a_subscriber_of_version_2_may_say_little():
    """An answer could be taken for a message."""
    async with serving() as server:
        client = server.client()
        await client.subscribe("a")
        for words, name in (("echo x", "echo"), ("publish a b", "publish"), ("client id", "client|id"), ("hello 3", "hello"),
                            ("xread streams a 0", "xread"), ("auth x", "auth")):  # fmt: skip
            assert await client.ask(*words.split()) == Error(f"ERR Can't execute '{name}': {ONLY}")
        assert await client.ask("ping") == [b"pong", b""]
        assert await client.ask("ping", "x") == [b"pong", b"x"]
        assert await client.ask("reset") == Simple("RESET")
        assert await client.ask("publish", "a", "b") == 0


@virtual
async def test_a_subscriber_of_version_3_may_say_anything():
    """Messages are pushes there, confirmations too; one's own message comes before the answer to it."""
    async with serving() as server:
        client = server.client()
        await client.ask("hello", "3")
        client.pipe.write(command("subscribe", "a") + command("publish", "a", "hi") + command("ping"))
        assert await client.replies(4) == [Push([b"subscribe", b"a", 1]), Push([b"message", b"a", b"hi"]), 1, PONG]
        assert await client.ask("unsubscribe") == Push([b"unsubscribe", b"a", 0])


@virtual
async def test_both_versions_hear_the_same():
    async with serving() as server:
        two, three = server.client(), server.client()
        await three.ask("hello", "3")
        for client in (two, three):
            await client.subscribe("a")
        server.broker.publish("a", b"1")
        server.broker.publish("a", b"2")
        assert await two.messages(2) == await three.messages(2) == [b"1", b"2"]


@virtual
async def test_a_change_of_version_is_for_what_comes_after_it():
    async with serving() as server:
        client, publisher = server.client(), server.client()
        await client.ask("hello", "3")
        await client.subscribe("a")
        server.broker.publish("a", b"before")
        client.send("hello", "2")
        assert await client.messages(1) == [b"before"]
        assert isinstance(await client.reply(), list)
        assert await publisher.ask("publish", "a", "after") == 1
        assert await client.reply() == [b"message", b"a", b"after"]


@virtual
async def test_one_order_for_all_topics():
    """Whatever topics and patterns a client listens to: what was published first comes first."""
    async with serving() as server:
        client, publisher = server.client(), server.client()
        await client.subscribe("a", "b")
        await client.subscribe("c*", by="psubscribe")
        publisher.pipe.write(b"".join(command("publish", "ab"[n % 2] if n % 3 else "cc", str(n)) for n in range(60)))
        assert await client.messages(60) == [b"%d" % n for n in range(60)]
        assert await publisher.replies(60) == [1] * 60


@virtual
async def test_a_message_is_for_those_who_listened_when_it_was_published():
    """Though it is written at the end of the turn: who comes or goes in the same turn gets what was published meanwhile."""
    async with serving() as server:
        client, other = server.client(), server.client()
        await client.ask("hello", "3")
        await other.subscribe("a")
        publish = [command("publish", "a", str(number)) for number in range(3)]
        client.pipe.write(publish[0] + command("subscribe", "a") + publish[1] + command("unsubscribe") + publish[2])
        assert await client.replies(6) == [
            1, Push([b"subscribe", b"a", 1]), Push([b"message", b"a", b"1"]), 2, Push([b"unsubscribe", b"a", 0]), 1
        ]  # fmt: skip
        assert await other.messages(3) == [b"0", b"1", b"2"]


@virtual
async def test_topics_are_bytes():
    """Of any kind, though the broker has text."""
    async with serving() as server:
        client, publisher = server.client(), server.client()
        for name in (b"\xff\x00\r\n", "κόσμε".encode(), b"", b"\xed\xa0\x80"):
            client.send("subscribe", name)
            assert (await client.reply())[1] == name
            assert await publisher.ask("publish", name, "x") == 1
            assert await client.reply() == [b"message", name, b"x"]
        client.send("psubscribe", b"\xff*")
        assert (await client.reply())[:2] == [b"psubscribe", b"\xff*"]
        assert await publisher.ask("publish", b"\xff\xfe", "x") == 1


@virtual
async def test_help_names_what_there_is():
    """An error says that one should try it."""
    async with serving() as server:
        asking = server.client()
        for name in ("pubsub", "client", "command", "xinfo"):
            head, *lines = [line.text for line in await asking.ask(name, "help")]
            assert head.startswith(f"{name.upper()} <subcommand>") and lines[-2:] == ["HELP", "    Prints this help."]
            for usage in lines[0:-2:2]:
                words = usage.split()
                answer = await asking.ask(name, *words)
                assert words[0].isupper() and "unknown subcommand" not in str(answer)


@virtual
async def test_pubsub_tells_who_listens():
    """By any way: a subscription of the app counts, too. One that only waits for a stream does not."""
    async with serving() as server:
        one, two, asking = (server.client() for _ in range(3))
        await one.subscribe("a", "b")
        await one.subscribe("p*", by="psubscribe")
        await two.subscribe("a")
        await two.subscribe("p*", "q*", by="psubscribe")
        server.client().send("xread", "block", "0", "streams", "x", "$")
        async with server.broker.subscribe("a", "c"):
            await asyncio.sleep(1)
            assert sorted(await asking.ask("pubsub", "channels")) == [b"a", b"b", b"c"]
            assert await asking.ask("pubsub", "channels", "[ax]") == [b"a"]
            assert await asking.ask("pubsub", "numsub", "a", "b", "c", "x") == [b"a", 3, b"b", 1, b"c", 1, b"x", 0]
            assert await asking.ask("pubsub", "numpat") == 2
            assert await asking.ask("publish", "a", "hi") == 3


@virtual
async def test_what_a_turn_brings_is_one_write():
    """A message is encoded once, and what one turn of the loop brings reaches each subscriber in one piece."""
    async with serving() as server:
        clients = [server.client() for _ in range(3)]
        for client in clients:
            await client.subscribe("a")
        for number in range(100):
            server.broker.publish("a", b"%d" % number)
        for client in clients:
            data = await client.pipe.read()
            assert data.count(b"message") == 100


@virtual
async def test_other_ways_to_publish_and_to_listen():
    """It is one broker: what the app publishes reaches Redis clients, and the other way round."""
    async with serving() as server:
        client = server.client()
        async with server.broker.subscribe("a") as subscription:
            await client.subscribe("a")
            assert server.broker.publish("a", b"from the app") == 2
            assert await server.client().ask("publish", "a", "from Redis") == 2
            assert await client.messages(2) == [b"from the app", b"from Redis"]
            assert [(await anext(subscription)).data for _ in range(2)] == [b"from the app", b"from Redis"]


# ---- a topic's history as a stream -----------------------------------------------------------------------------------


def data_of(entries):
    return [fields[1] for _, fields in entries]


@virtual
async def test_xrange():
    async with serving() as server:
        client = server.client()
        for number in range(5):
            server.broker.publish("a", b"%d" % number)
        entries = await client.ask("xrange", "a", "-", "+")
        assert data_of(entries) == [b"0", b"1", b"2", b"3", b"4"]
        assert all(fields[0] == b"data" for _, fields in entries)
        ids = [id for id, _ in entries]
        assert await client.ask("xlen", "a") == 5
        for first, last, part in (
            (ids[1], ids[3], entries[1:4]), (b"(" + ids[1], b"(" + ids[3], entries[2:3]), (ids[4], "+", entries[4:]),
            ("-", ids[0], entries[:1]), (ids[3], ids[1], []), ("+", "-", []), ("0", "1", []), ("(0", "+", entries),
        ):  # fmt: skip
            assert await client.ask("xrange", "a", first, last) == part
        assert await client.ask("xrange", "a", "-", "+", "count", "2") == entries[:2]
        assert await client.ask("xrange", "a", "-", "+", "COUNT", "0") == NULL_ARRAY
        assert await client.ask("xrange", "none", "-", "+", "COUNT", "0") == []


@virtual
async def test_the_newest_of_a_history_come_first_backwards():
    """XREVRANGE: how somebody asks for the last few, and then goes on with XREAD."""
    async with serving() as server:
        client = server.client()
        for number in range(5):
            server.broker.publish("a", b"%d" % number)
        entries = await client.ask("xrevrange", "a", "+", "-", "COUNT", "2")
        assert data_of(entries) == [b"4", b"3"]
        assert data_of(await client.ask("xrevrange", "a", b"(" + entries[1][0], "-")) == [b"2", b"1", b"0"]
        assert data_of(await client.ask("xrevrange", "a", "+", entries[1][0])) == [b"4", b"3"]
        assert await client.ask("xrevrange", "a", "-", "+") == []
        assert await client.ask("xrevrange", "a", "x", "-") == NO_ID


@virtual
async def test_xinfo_tells_after_which_id_nothing_is_missing():
    async with serving(history={"a": 2}) as server:
        client, broker = server.client(), server.broker
        beginning = broker.last_id("a").encode()
        assert in_pairs(await client.ask("xinfo", "stream", "a")) == {
            b"length": 0, b"last-generated-id": beginning, b"max-deleted-entry-id": beginning, b"entries-added": 0,
            b"recorded-first-entry-id": b"0-0", b"groups": 0, b"first-entry": None, b"last-entry": None,
        }  # fmt: skip
        ids = []
        for number in range(3):
            broker.publish("a", b"%d" % number)
            ids.append(broker.last_id("a").encode())
        assert in_pairs(await client.ask("xinfo", "stream", "a")) == {
            b"length": 2, b"last-generated-id": ids[2], b"max-deleted-entry-id": ids[0], b"groups": 0,
            b"entries-added": 3, b"recorded-first-entry-id": ids[1],
            b"first-entry": [ids[1], [b"data", b"1"]], b"last-entry": [ids[2], [b"data", b"2"]],
        }  # fmt: skip
        assert await client.ask("xinfo", "stream", "b") == Error("ERR no such key")
        assert await client.ask("xinfo", "stream", "a", "full") == Error(
            "ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP."
        )


def in_pairs(flat):
    return dict(zip(flat[::2], flat[1::2], strict=True))


@virtual
async def test_xread():
    """Behind an id, of several topics; version 3 has a map."""
    async with serving() as server:
        client = server.client()
        for topic in ("a", "b", "a", "a"):
            server.broker.publish(topic, topic.encode())
        a, b = [await client.ask("xrange", topic, "-", "+") for topic in "ab"]
        assert await client.ask("xread", "streams", "a", "b", "0", "0") == [[b"a", a], [b"b", b]]
        assert await client.ask("xread", "count", "1", "streams", "a", "b", a[0][0], b[0][0]) == [[b"a", a[1:2]]]
        assert await client.ask("xread", "count", "0", "streams", "a", "0") == [[b"a", a]]
        assert await client.ask("xread", "streams", "a", "none", "$", "$") == NULL_ARRAY
        await client.ask("hello", "3")
        assert await client.ask("xread", "streams", "b", "0-0") == Map([(b"b", b)])
        assert await client.ask("xread", "streams", "b", "$") is None


WRONG = [
    ("xread streams a", arity("xread")), ("xread count 1 x", Error("ERR syntax error")),
    ("xread foo bar streams a 0", Error("ERR syntax error")),
    ("xread count 1 streams", Error("ERR syntax error")), ("xread count 1 count", Error("ERR syntax error")),
    ("xread streams a b 0",
     Error("ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.")),
    ("xread count x streams a 0", Error("ERR value is not an integer or out of range")),
    ("xread block x streams a 0", Error("ERR timeout is not an integer or out of range")),
    ("xread block -1 streams a 0", Error("ERR timeout is negative")),
    ("xread group a b streams a 0",
     Error("ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.")),
    ("xread noack streams a 0",
     Error("ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.")),
    ("xread streams a >",
     Error("ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.")),
    *((f"xread streams a {id}", NO_ID) for id in ("x", "-", "+", "1-", "-1", "1-2-3", "(1", "1-18446744073709551616")),
    (f"xread streams a {'1' * 130}", NO_ID),
    *((f"xrange a {id} +", NO_ID) for id in ("x", "(-", "(+", "(", "1-", "18446744073709551616")),
    ("xrange a (18446744073709551615-18446744073709551615 +", Error("ERR invalid start ID for the interval")),
    ("xrange a - (0-0", Error("ERR invalid end ID for the interval")), ("xrange a - + count", Error("ERR syntax error")),
    ("xrange a - + foo 1", Error("ERR syntax error")), ("xlen", arity("xlen")), ("xrange a -", arity("xrange")),
]  # fmt: skip


@pytest.mark.parametrize(("words", "complaint"), WRONG, ids=[words[:40] for words, _ in WRONG])
@virtual
async def test_wrong_words_about_streams(words, complaint):
    async with serving() as server:
        assert await server.client().ask(*words.split()) == complaint


@virtual
async def test_xread_waits():
    """For a message of any of its topics; what was sent behind it waits, too."""
    async with serving() as server:
        client, other = server.client(), server.client()
        client.pipe.write(command("xread", "block", "5000", "streams", "a", "b", "$", "$") + command("ping"))
        await asyncio.sleep(1)
        assert await other.ask("publish", "c", "x") == 0
        assert await other.ask("publish", "b", "hi") == 0
        ((topic, entries),) = await client.reply()
        assert (topic, data_of(entries), now()) == (b"b", [b"hi"], 1)
        assert await client.reply() == PONG


@virtual
async def test_xread_has_a_timeout():
    async with serving() as server:
        client = server.client()
        assert await client.ask("xread", "block", "1500", "streams", "a", "$") == NULL_ARRAY
        assert now() == 1.5
        client.send("xread", "block", "0", "streams", "a", "$")
        await asyncio.sleep(10_000)
        server.broker.publish("a", b"at last")
        assert data_of((await client.reply())[0][1]) == [b"at last"]


@virtual
async def test_blocked_consumers_are_served_in_turn():
    """Who has waited longest comes first, even if another command for the entry is in the same chunk as the XADD."""
    async with serving() as server:
        first, second, other = server.client(), server.client(), server.client()
        await other.ask("xgroup", "create", "s", "g", "$", "mkstream")
        for name, client in (("a", first), ("b", second)):
            client.send("xreadgroup", "group", "g", name, "count", "1", "block", "0", "streams", "s", ">")
            await asyncio.sleep(1)
        read = command("xreadgroup", "group", "g", "c", "streams", "s", ">")
        other.pipe.write(command("xadd", "s", "1-0", "f", "x") + read + command("xadd", "s", "2-0", "f", "y") + read)
        assert await other.replies(4) == [b"1-0", NULL_ARRAY, b"2-0", NULL_ARRAY]
        assert await first.reply() == [[b"s", [[b"1-0", [b"f", b"x"]]]]]
        assert await second.reply() == [[b"s", [[b"2-0", [b"f", b"y"]]]]]
        first.send("xreadgroup", "group", "g", "a", "block", "1500", "streams", "s", ">")
        assert await first.reply() == NULL_ARRAY
        for words, error in ((("xgroup", "destroy", "s", "g"), "NOGROUP"), (("del", "s"), "UNBLOCKED")):
            second.send("xreadgroup", "group", "g", "b", "block", "0", "streams", "s", ">")
            await asyncio.sleep(1)
            await other.ask(*words)
            assert (await second.reply()).text.startswith(error)
            await other.ask("xgroup", "create", "s", "g", "$", "mkstream")


@virtual
async def test_a_topic_without_a_history_has_nothing_to_read():
    async with serving(history=0) as server:
        client = server.client()
        client.send("xread", "block", "1000", "streams", "a", "$")
        await asyncio.sleep(0.5)
        server.broker.publish("a", b"x")
        assert (await client.reply(), now()) == (NULL_ARRAY, 1)


@virtual
async def test_a_client_that_goes_while_it_waits_is_noticed():
    async with serving() as server:
        client = server.client()
        client.send("xread", "block", "0", "streams", "a", "$")
        await asyncio.sleep(1)
        await client.pipe.close()
        await asyncio.sleep(1)
        assert server.metrics.connections == 0


@given(cuts=st.lists(st.integers(0, 12), max_size=5), most=st.integers(1, 5))
def test_no_gap(cuts, most):
    """Law 10: wherever the connection is cut, who reads on behind the last id gets the exact rest."""

    async def test():
        async with serving() as server:
            last, got, published = b"0-0", [], 0
            for number in [*sorted(cuts), 12]:
                client = Client(server.attach())
                client.send("xread", "block", "1", "count", str(most), "streams", "a", last)
                while published < number:
                    server.broker.publish("a", b"%d" % published)
                    published += 1
                    await asyncio.sleep(0)
                answer = await client.reply()
                while answer != NULL_ARRAY:
                    got += data_of(answer[0][1])
                    last = answer[0][1][-1][0]
                    answer = await client.ask("xread", "count", str(most), "streams", "a", last)
                client.pipe.abort()
            assert got == [b"%d" % number for number in range(12)]

    clock.run(test())


# ---- faults ----------------------------------------------------------------------------------------------------------


@virtual
async def test_who_leaves_while_it_waits_gets_what_was_answered_before():
    """And an end, where a reset would destroy that; what it asked behind is not done, as in Redis."""
    async with serving() as server:
        client = server.client()
        client.send("ping")
        client.send("xread", "block", "0", "streams", "a", "$")
        client.send("publish", "b", "x")
        client.pipe.close_write()
        await asyncio.sleep(0.1)
        assert server.broker.inner.log("b") == []
        assert await client.reply() == PONG
        assert await client.end() == FIN
        await client.pipe.close()


@virtual
async def test_a_fault_is_told_behind_the_answers_before_it():
    async with serving() as server:
        client = server.client()
        client.pipe.write(command("ping") + b"*1\r\n:1\r\n" + command("ping"))
        assert await client.replies(2) == [PONG, Error("ERR Protocol error: expected '$', got ':'")]
        assert await client.end() == FIN


@pytest.mark.parametrize("line", [b"POST / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nhOsT: a\r\n", b"*1\r\n$4\r\npost\r\n"])
@virtual
async def test_a_browser_is_cut_off(line):
    """A page can make one send a POST here, whose lines would be commands."""
    async with serving(password="secret") as server:
        client = server.client()
        client.pipe.write(line + command("publish", "a", "x"))
        with pytest.raises((ConnectionResetError, RemoteProtocolError, EOFError)):
            while True:
                assert "unknown command" in (await client.reply()).text
        await asyncio.sleep(0.1)
        assert server.metrics.connections == 0


@virtual
async def test_a_fault_of_ours_ends_one_connection_and_is_logged(monkeypatch, logged):
    async with serving() as server:
        monkeypatch.setattr(server.broker.inner, "publish", lambda topic, data: 1 / 0)
        client = server.client()
        client.send("publish", "a", "x")
        assert await client.end() == RST
        monkeypatch.undo()
    assert "ZeroDivisionError" in logged.pop()


def test_a_broker_needs_no_server():
    """And a password is not shown where a configuration is."""
    from minproto.aio.resp import Config

    assert "secret" not in repr(Config(password="secret"))
    assert Broker().publish("a", b"") == 0


# ---- shard channels, and what CLIENT says and does ---------------------------------------------------------------------


def list_of(value):
    return value.items if isinstance(value, Push) else value


@virtual
@pytest.mark.parametrize("version", [2, 3])
async def test_a_shard_channel_has_a_name_of_its_own(version):
    """PUBLISH does not reach it, SPUBLISH reaches nobody else, a pattern does not match it; and it is counted apart."""
    async with serving() as server:
        client, publisher = server.client(), server.client()
        await client.ask("hello", str(version))
        for words in ("subscribe a", "psubscribe *", "ssubscribe a", "ssubscribe b", "subscribe c"):
            client.send(*words.split())
        counts = [list_of(reply)[2] for reply in await client.replies(5)]
        assert counts == [1, 2, 1, 2, 3]
        other = server.client()
        other.send("ssubscribe", "c")
        assert await other.reply() == [b"ssubscribe", b"c", 1]
        assert await publisher.ask("publish", "c", "topic") == 2
        assert [list_of(reply)[0] for reply in await client.replies(2)] == [b"message", b"pmessage"]
        assert await publisher.ask("spublish", "c", "shard") == 1
        assert await other.reply() == [b"smessage", b"c", b"shard"]
        assert await publisher.ask("spublish", "a", "shard") == 1
        assert list_of(await client.reply()) == [b"smessage", b"a", b"shard"]
        assert await publisher.ask("publish", "b", "topic") == 1
        assert list_of(await client.reply()) == [b"pmessage", b"*", b"b", b"topic"]
        assert await publisher.ask("pubsub", "channels") == [b"a", b"c"]
        assert await publisher.ask("pubsub", "shardchannels", "[b]") == [b"b"]
        assert await publisher.ask("pubsub", "shardnumsub", "b", "d") == [b"b", 1, b"d", 0]
        client.send("sunsubscribe")
        ended = [list_of(reply) for reply in await client.replies(2)]
        assert ended == [[b"sunsubscribe", b"a", 1], [b"sunsubscribe", b"b", 0]]
        assert await publisher.ask("spublish", "a", "nobody") == 0


@virtual
async def test_a_shard_channel_alone_makes_a_subscriber():
    """In version 2 a subscriber may not send other commands; and its subscriptions end with it, or with RESET."""
    async with serving() as server:
        client, other = server.client(), server.client()
        client.send("ssubscribe", "a")
        await client.reply()
        assert "Can't execute 'echo'" in (await client.ask("echo", "hi")).text
        assert await client.ask("ping") == [b"pong", b""]
        assert await client.ask("reset") == Simple("RESET")
        assert await other.ask("pubsub", "shardchannels") == []
        client.send("ssubscribe", "a")
        await client.reply()
        client.pipe.abort()
        await asyncio.sleep(1)
        assert await other.ask("spublish", "a", "x") == 0


@virtual
async def test_messages_of_both_kinds_come_in_the_order_in_which_they_were_published():
    async with serving() as server:
        client, publisher = server.client(), server.client()
        client.send("subscribe", "a")
        client.send("ssubscribe", "a")
        await client.replies(2)
        publisher.pipe.write(b"".join(command(name, "a", str(n)) for n, name in enumerate(["publish", "spublish"] * 3)))
        assert [message[2] for message in await client.replies(6)] == [b"0", b"1", b"2", b"3", b"4", b"5"]


def facts(line: bytes) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in line.decode().rstrip("\n").split(" "))


@virtual
async def test_client_list_describes_each_connection():
    async with serving() as server:
        first, second = server.client(), server.client()
        await first.ask("client", "setname", "one")
        await asyncio.sleep(5)
        await second.ask("hello", "3")
        second.send("subscribe", "a")
        second.send("psubscribe", "b*")
        second.send("ssubscribe", "c")
        await second.replies(3)
        await second.ask("client", "no-evict", "on")
        await asyncio.sleep(2)
        lines = [facts(line) for line in (await first.ask("client", "list")).splitlines()]
        shown = ["id", "name", "age", "idle", "flags", "sub", "psub", "ssub", "cmd", "resp"]
        assert [[line[name] for name in shown] for line in lines] == [
            ["1", "one", "7", "0", "N", "0", "0", "0", "client|list", "2"],
            ["2", "", "7", "2", "Pe", "1", "1", "1", "client|no-evict", "3"],
        ]
        assert lines[0]["addr"] == "memory:1" and lines[0]["laddr"] == "memory:2"
        for words, ids in {"id 2 7 1": ["2", "1"], "type pubsub": ["2"], "type normal": ["1"], "type master": []}.items():
            listed = await first.ask("client", "list", *words.split())
            assert [facts(line)["id"] for line in listed.splitlines()] == ids, words
        assert facts((await second.ask("client", "info")).data)["id"] == "2"


@virtual
async def test_a_client_that_waits_is_shown_as_blocked():
    async with serving(history=5) as server:
        waiting, other = server.client(), server.client()
        waiting.send("xread", "block", "0", "streams", "a", "$")
        await asyncio.sleep(1)
        assert facts(await other.ask("client", "list", "id", "1"))["flags"] == "b"
        await other.ask("publish", "a", "x")
        await waiting.reply()
        assert facts(await other.ask("client", "list", "id", "1"))["flags"] == "N"


@virtual
async def test_client_reply_turns_answers_off():
    """But not the messages and confirmations of a subscription, as in Redis; and RESET turns them on."""
    async with serving() as server:
        client = server.client()
        quiet = ["client reply off", "ping 1", "nothing", "client reply skip", "ping 2", "client reply on", "ping 3"]
        skipping = ["client reply skip", "ping 4", "ping 5", "client reply skip", "client reply skip", "ping 6", "ping 7"]
        client.pipe.write(b"".join(command(*words.split()) for words in (*quiet, *skipping)))
        assert await client.replies(4) == [OK, b"3", b"5", b"7"]
        client.pipe.write(b"".join(command(*words.split()) for words in ("client reply off", "subscribe a", "reset", "ping")))
        assert await client.replies(3) == [[b"subscribe", b"a", 1], Simple("RESET"), PONG]


@virtual
async def test_command_docs_says_what_each_command_is_for():
    """Each command and subcommand has a row, and each row is a command's."""
    names = {name.decode() for name in COMMANDS}
    names |= {f"{name.decode()}|{second.decode()}" for name, entry in COMMANDS.items() for second in entry.subcommands}
    assert set(DOCS) == names
    async with serving() as server:
        client = server.client()
        await client.ask("hello", "3")
        docs = dict((await client.ask("command", "docs", "XLEN", "nosuch", "client")).pairs)
        assert list(docs) == [b"xlen", b"client"]
        assert dict(docs[b"xlen"].pairs)[b"since"] == b"5.0.0"
        client_docs = dict(docs[b"client"].pairs)
        assert client_docs[b"complexity"] == b"Depends on subcommand."
        inner = dict(client_docs[b"subcommands"].pairs)
        assert b"client|list" in inner and dict(inner[b"client|list"].pairs)[b"group"] == b"connection"
        assert len((await client.ask("command", "docs")).pairs) == len(COMMANDS)
