"""COMMAND DOCS: what each command is for, since which version of Redis it exists, and how much work it is.

A program such as redis-cli shows this text while its user types. The reply is a map from each command's name to another map:

    COMMAND DOCS xlen       "xlen"  ->  "summary"      "Count the entries of a stream"
                                        "since"        "5.0.0"
                                        "group"        "stream"
                                        "complexity"   "O(1)"
                                        "arguments"    [{"name": "key", "type": "string"}]

redis-cli makes the line ``XLEN key`` of the arguments. The map of a command with subcommands ends with ``subcommands``: such a
map for each of them, under names like ``client|list``. A name that is not a command is not in the reply. Left out:
``history``, which says in which version each option came.
"""

from minproto.resp import Map, Simple

_DOCS = """
    auth            connection  1.0.0   O(1)      Give the password
    client          connection  2.4.0   -         Commands about connections
    client|getname  connection  2.6.9   O(1)      Get the name of this connection
    client|help     connection  5.0.0   O(1)      List the subcommands of CLIENT
    client|id       connection  5.0.0   O(1)      Get the number of this connection
    client|info     connection  6.2.0   O(1)      Describe this connection
    client|list     connection  2.4.0   O(N)      Describe all N connections
    client|no-evict connection  7.0.0   O(1)      Ask to be spared when memory is short
    client|reply    connection  3.2.0   O(1)      Turn answers on or off
    client|setinfo  connection  7.2.0   O(1)      Tell the name or version of the client's library
    client|setname  connection  2.6.9   O(1)      Name this connection
    command         server      2.8.13  O(N)      Describe all N commands
    command|count   server      2.8.13  O(1)      Count the commands
    command|docs    server      7.0.0   O(N)      Say what N commands are for
    command|help    server      5.0.0   O(1)      List the subcommands of COMMAND
    command|info    server      2.8.13  O(N)      Describe N commands
    del             generic     1.0.0   O(N)      Delete streams, with their N entries
    echo            connection  1.0.0   O(1)      Get the argument back
    exists          generic     1.0.0   O(N)      Count which of N names are streams
    hello           connection  6.0.0   O(1)      Choose the version of RESP, and give the password
    info            server      1.0.0   O(1)      Get facts about the server
    ping            connection  1.0.0   O(1)      Ask whether the server is there
    psubscribe      pubsub      2.0.0   O(N)      Listen to all channels that match N patterns
    publish         pubsub      2.0.0   O(N+M)    Send a message to N subscribers, and to those of M patterns
    pubsub          pubsub      2.8.0   -         Commands about subscribers
    pubsub|channels pubsub      2.8.0   O(N)      List the N channels that have subscribers
    pubsub|help     pubsub      6.2.0   O(1)      List the subcommands of PUBSUB
    pubsub|numpat   pubsub      2.8.0   O(1)      Count the patterns that have subscribers
    pubsub|numsub   pubsub      2.8.0   O(N)      Count the subscribers of N channels
    pubsub|shardchannels pubsub 7.0.0   O(N)      List the N shard channels that have subscribers
    pubsub|shardnumsub pubsub   7.0.0   O(N)      Count the subscribers of N shard channels
    punsubscribe    pubsub      2.0.0   O(N+M)    Stop listening to patterns
    quit            connection  1.0.0   O(1)      End the connection
    reset           connection  6.2.0   O(1)      Begin again, as if just connected
    select          connection  1.0.0   O(1)      Choose a database: there is only number 0
    spublish        pubsub      7.0.0   O(N)      Send a message to the N subscribers of a shard channel
    ssubscribe      pubsub      7.0.0   O(N)      Listen to N shard channels
    subscribe       pubsub      2.0.0   O(N)      Listen to N channels
    sunsubscribe    pubsub      7.0.0   O(N)      Stop listening to N shard channels
    type            generic     1.0.0   O(1)      Say whether a name is a stream
    unsubscribe     pubsub      2.0.0   O(N)      Stop listening to N channels
    xack            stream      5.0.0   O(N)      Acknowledge N entries of a consumer group
    xadd            stream      5.0.0   O(N)      Append an entry to a stream, and drop N old ones
    xautoclaim      stream      6.2.0   O(N)      Take over N entries that other consumers have left lying
    xclaim          stream      5.0.0   O(N)      Take over N entries of other consumers
    xdel            stream      5.0.0   O(N)      Delete entries of a stream
    xgroup          stream      5.0.0   -         Commands that make and change consumer groups
    xgroup|create   stream      5.0.0   O(1)      Make a consumer group
    xgroup|createconsumer stream 6.2.0  O(1)      Make a consumer
    xgroup|delconsumer stream   5.0.0   O(N)      Delete a consumer, and its N pending entries
    xgroup|destroy  stream      5.0.0   O(N)      Delete a consumer group, and its N pending entries
    xgroup|help     stream      5.0.0   O(1)      List the subcommands of XGROUP
    xgroup|setid    stream      5.0.0   O(1)      Set the id after which a consumer group reads on
    xinfo           stream      5.0.0   -         Commands that describe streams
    xinfo|consumers stream      5.0.0   O(N)      Describe the N consumers of a group
    xinfo|groups    stream      5.0.0   O(N)      Describe the N consumer groups of a stream
    xinfo|help      stream      5.0.0   O(1)      List the subcommands of XINFO
    xinfo|stream    stream      5.0.0   O(1)      Describe a stream
    xlen            stream      5.0.0   O(1)      Count the entries of a stream
    xpending        stream      5.0.0   O(N)      List N entries that consumers have not acknowledged
    xrange          stream      5.0.0   O(N)      Get N entries of a stream, the oldest first
    xread           stream      5.0.0   O(N)      Get N entries of streams after an id, or wait for one
    xreadgroup      stream      5.0.0   O(N)      Get N entries for a consumer of a group, or wait for one
    xrevrange       stream      5.0.0   O(N)      Get N entries of a stream, the newest first
    xtrim           stream      5.0.0   O(N)      Drop the N oldest entries of a stream
"""
"""Name, group, since, complexity, summary. "-": the complexity is that of the subcommand."""

DOCS = {name: tuple(facts) for name, *facts in (line.split(maxsplit=4) for line in _DOCS.strip().splitlines())}
"""The facts of each command by its name, in the order of the columns above."""

_ARGUMENTS = """
    auth            [username] password
    client|list     [TYPE=type] [ID=client-id+]
    client|no-evict on-or-off
    client|reply    on-off-or-skip
    client|setinfo  option value
    client|setname  name
    command|docs    [command+]
    command|info    [command+]
    del             key+
    echo            message
    exists          key+
    hello           [version] [AUTH=username-and-password] [SETNAME=name]
    info            [section+]
    ping            [message]
    psubscribe      pattern+
    publish         channel message
    pubsub|channels [pattern]
    pubsub|numsub   [channel+]
    pubsub|shardchannels [pattern]
    pubsub|shardnumsub [channel+]
    punsubscribe    [pattern+]
    select          index
    spublish        channel message
    ssubscribe      channel+
    subscribe       channel+
    sunsubscribe    [channel+]
    type            key
    unsubscribe     [channel+]
    xack            key group id+
    xadd            key [NOMKSTREAM] [MAXLEN=count] [MINID=id] id-or-* field-and-value+
    xautoclaim      key group consumer min-idle-time start [COUNT=count] [JUSTID]
    xclaim          key group consumer min-idle-time id+ [IDLE=ms] [TIME=ms] [RETRYCOUNT=count] [FORCE] [JUSTID] [LASTID=id]
    xdel            key id+
    xgroup|create   key group id-or-$ [MKSTREAM] [ENTRIESREAD=entries-read]
    xgroup|createconsumer key group consumer
    xgroup|delconsumer key group consumer
    xgroup|destroy  key group
    xgroup|setid    key group id-or-$ [ENTRIESREAD=entries-read]
    xinfo|consumers key group
    xinfo|groups    key
    xinfo|stream    key
    xlen            key
    xpending        key group [IDLE=min-idle-time] [start] [end] [count] [consumer]
    xrange          key start end [COUNT=count]
    xread           [COUNT=count] [BLOCK=milliseconds] STREAMS=key+ id+
    xreadgroup      GROUP=group consumer [COUNT=count] [BLOCK=milliseconds] [NOACK] STREAMS=key+ id+
    xrevrange       key end start [COUNT=count]
    xtrim           key [MAXLEN=count] [MINID=id] [LIMIT=count]
"""
"""What follows a command's name: ``[x]`` may be left out, ``x+`` may be repeated, ``COUNT=x`` is the word COUNT and then x.
Capitals alone are such a word without a value. A command that is not here has no arguments."""

ARGUMENTS = {name: words for name, *words in (line.split() for line in _ARGUMENTS.strip().splitlines())}


def command_docs(names: list[str], subcommands: dict[str, list[str]]) -> Map:
    """Return the reply for these commands. ``subcommands``: the full names of each command's subcommands.

    >>> command_docs(["xlen", "nope"], {}).pairs
    [(b'xlen', Map(pairs=[(b'summary', b'Count the entries of a stream'), (b'since', b'5.0.0'), (b'group', b'stream'), (b'complexity', b'O(1)'), (b'arguments', [Map(pairs=[(b'name', b'key'), (b'type', b'string')])])]))]
    """  # noqa: E501
    return Map([(name.encode(), _doc(name, subcommands)) for name in names if name in DOCS])


def _doc(name: str, subcommands: dict[str, list[str]]) -> Map:
    group, since, complexity, summary = DOCS[name]
    if complexity == "-":
        complexity = "Depends on subcommand."
    texts = {"summary": summary, "since": since, "group": group, "complexity": complexity}
    facts: list[tuple[object, object]] = [(key.encode(), text.encode()) for key, text in texts.items()]
    if name in ARGUMENTS:
        facts.append((b"arguments", [_argument(word) for word in ARGUMENTS[name]]))
    if name in subcommands:
        facts.append((b"subcommands", command_docs(subcommands[name], {})))
    return Map(facts)


def _argument(word: str) -> Map:
    """Return the map of an argument.

    >>> [_argument(word).pairs for word in ("[COUNT=count]", "id+")]  # doctest: +NORMALIZE_WHITESPACE
    [[(b'name', b'count'), (b'type', b'string'), (b'token', b'COUNT'), (b'flags', [Simple(text='optional')])],
     [(b'name', b'id'), (b'type', b'string'), (b'flags', [Simple(text='multiple')])]]
    """
    inner = word.strip("[]")
    token, is_value, name = inner.removesuffix("+").rpartition("=")
    if not is_value and name.isupper():  # a word without a value
        token, name = name, name.lower()
    facts: list[tuple[object, object]] = [(b"name", name.encode())]
    facts.append((b"type", b"pure-token" if token and not is_value else b"string"))
    if token:
        facts.append((b"token", token.encode()))
    flags = [Simple("optional")] * (word != inner) + [Simple("multiple")] * inner.endswith("+")
    if flags:
        facts.append((b"flags", flags))
    return Map(facts)
