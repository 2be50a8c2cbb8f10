r"""The commands of publish/subscribe: SUBSCRIBE and its relatives, PUBLISH and PUBSUB; and those of shard channels.

SUBSCRIBE and its relatives have no reply. Instead they are answered by pushes, one for each name:

    SUBSCRIBE a b       subscribe a 1,  subscribe b 2         the number counts topics and patterns together
    PSUBSCRIBE n*       psubscribe n* 3
    UNSUBSCRIBE         unsubscribe a 2,  unsubscribe b 1     without a name: all topics, but no pattern
    UNSUBSCRIBE         unsubscribe (null) 1                  no topic was left, but the client awaits an answer

**Shard channels.** A Redis cluster sends each PUBLISH to all of its servers, because a subscriber may be at any of them. So
ten servers carry no more messages than one. A *shard channel* lives on one server only (a *shard*), which a hash of the
channel's name chooses. Its subscribers have to be at that server, and its messages stay there:

    A sends       *2\r\n $10\r\nSSUBSCRIBE\r\n $4\r\njobs\r\n
    A receives    *3\r\n $10\r\nssubscribe\r\n $4\r\njobs\r\n :1\r\n                  A has 1 shard channel now
    B sends       *3\r\n $8\r\nSPUBLISH\r\n $4\r\njobs\r\n $5\r\nhello\r\n
    B receives    :1\r\n                                                              1 subscriber receives the message
    A receives    *3\r\n $8\r\nsmessage\r\n $4\r\njobs\r\n $5\r\nhello\r\n

This broker is a single server, so the only difference is that shard channels have names of their own. PUBLISH does not reach
the subscribers of a shard channel, SPUBLISH reaches nobody else, and no pattern matches a shard channel. Client libraries use
these commands even so: the sharded adapter of Socket.IO, for example.

What is easy to get wrong: a confirmation of SSUBSCRIBE counts shard channels alone, and the other confirmations do not count
them.

    >>> from minproto.broker import Broker
    >>> from minproto.session import Switchboard
    >>> switchboard = Switchboard(Broker(clock=lambda: 1_700_000_000_000))
    >>> a, b = switchboard.open(print), switchboard.open(print)
    >>> subscribe(a, [b"SUBSCRIBE", b"news"])
    [Push(items=[b'subscribe', b'news', 1])]
    >>> ssubscribe(a, [b"SSUBSCRIBE", b"jobs"])
    [Push(items=[b'ssubscribe', b'jobs', 1])]
    >>> spublish(b, [b"SPUBLISH", b"jobs", b"hello"])
    b'*3\r\n$8\r\nsmessage\r\n$4\r\njobs\r\n$5\r\nhello\r\n'
    [Reply(value=1)]
    >>> spublish(b, [b"SPUBLISH", b"news", b"hello"])
    [Reply(value=0)]

Sources: the pages of these commands in the documentation of Redis, and redis-server 7.0.
"""

from collections.abc import Callable, Iterable

from minproto.broker import glob
from minproto.resp import Push, to_bytes, to_text
from minproto.session import MAX_QUOTED, Events, Refusal, Session, checked_name, quoted, reply

# ---- topics and patterns -----------------------------------------------------------------------------------------------


def publish(session: Session, arguments: list[bytes]) -> Events:
    """PUBLISH topic message: reply with the number of deliveries: three for a subscriber by topic and by two patterns."""
    try:
        return reply(session.switchboard.broker.publish(checked_name(arguments[1]), arguments[2]))
    except ValueError:  # XADD has given the topic's log the largest possible id
        raise Refusal("ERR The stream has exhausted the last possible ID, unable to add more items") from None


def subscribe(session: Session, arguments: list[bytes]) -> Events:
    """SUBSCRIBE topic [topic …]"""
    return _change(b"subscribe", session.subscribe, _checked(arguments[1:]), lambda: session.subscription_count)


def psubscribe(session: Session, arguments: list[bytes]) -> Events:
    """PSUBSCRIBE pattern [pattern …]"""
    return _change(b"psubscribe", session.subscribe_pattern, _checked(arguments[1:]), lambda: session.subscription_count)


def unsubscribe(session: Session, arguments: list[bytes]) -> Events:
    """UNSUBSCRIBE [topic …]"""
    names = arguments[1:] or [*map(to_bytes, session.topics)]
    return _change(b"unsubscribe", session.unsubscribe, names, lambda: session.subscription_count)


def punsubscribe(session: Session, arguments: list[bytes]) -> Events:
    """PUNSUBSCRIBE [pattern …]"""
    names = arguments[1:] or [*map(to_bytes, session.patterns)]
    return _change(b"punsubscribe", session.unsubscribe_pattern, names, lambda: session.subscription_count)


def _checked(names: list[bytes]) -> list[bytes]:
    """Check all names before acting on the first of them. Raises Refusal."""
    for name in names:
        checked_name(name)
    return names


def _change(kind: bytes, change: Callable[[str], None], names: list[bytes], count: Callable[[], int]) -> Events:
    """Call ``change`` with each name, and return a confirmation for each name; if there is no name, one with a null.

    ``count``: returns the number of subscriptions, which each confirmation tells.
    """
    events: Events = []
    for name in names:
        change(to_text(name))
        events.append(Push([kind, name, count()]))
    return events or [Push([kind, None, count()])]


def channels(session: Session, arguments: list[bytes]) -> Events:
    """PUBSUB CHANNELS [pattern]: reply with the topics that a subscriber has named."""
    return _matching(arguments, session.switchboard.broker.topics)


def _matching(arguments: list[bytes], topics: Iterable[str]) -> Events:
    """Reply with the names that match the pattern, which is the third word; with all names, if there is no pattern."""
    if len(arguments) > 3:
        wrong = quoted(arguments[1], MAX_QUOTED)
        raise Refusal(f"ERR unknown subcommand or wrong number of arguments for '{wrong}'. Try PUBSUB HELP.")
    names = [to_bytes(topic) for topic in topics]
    if len(arguments) == 3:
        names = [*filter(glob(checked_name(arguments[2])).fullmatch, names)]
    return reply(names)


def numsub(session: Session, arguments: list[bytes]) -> Events:
    """PUBSUB NUMSUB [topic …]: reply with each topic, followed by its number of subscribers."""
    broker = session.switchboard.broker
    return reply([part for name in arguments[2:] for part in (name, broker.subscriber_count(to_text(name)))])


def numpat(session: Session, arguments: list[bytes]) -> Events:
    """PUBSUB NUMPAT: reply with the number of different patterns in use."""
    return reply(session.switchboard.broker.pattern_count)


# ---- shard channels ----------------------------------------------------------------------------------------------------


def ssubscribe(session: Session, arguments: list[bytes]) -> Events:
    """SSUBSCRIBE channel [channel …]"""
    return _change(b"ssubscribe", session.subscribe_shard, _checked(arguments[1:]), lambda: len(session.shards))


def sunsubscribe(session: Session, arguments: list[bytes]) -> Events:
    """SUNSUBSCRIBE [channel …]"""
    names = arguments[1:] or [*map(to_bytes, session.shards)]
    return _change(b"sunsubscribe", session.unsubscribe_shard, names, lambda: len(session.shards))


def spublish(session: Session, arguments: list[bytes]) -> Events:
    """SPUBLISH channel message: reply with the number of subscribers that receive it. No log keeps the message."""
    return reply(session.switchboard.publish_to_shard(checked_name(arguments[1]), arguments[2]))


def shardchannels(session: Session, arguments: list[bytes]) -> Events:
    """PUBSUB SHARDCHANNELS [pattern]: reply with the shard channels that have a subscriber."""
    return _matching(arguments, session.switchboard.by_shard.sessions)


def shardnumsub(session: Session, arguments: list[bytes]) -> Events:
    """PUBSUB SHARDNUMSUB [channel …]: reply with each shard channel, followed by its number of subscribers."""
    sessions = session.switchboard.by_shard.sessions
    return reply([part for name in arguments[2:] for part in (name, len(sessions.get(to_text(name), ())))])
