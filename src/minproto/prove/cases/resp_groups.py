r"""RESP: streams that take entries, and consumer groups that hand them out, as redis-server 7.0 answers them.

Each case has a stream of its own, which it deletes first, since a server may have been asked before, and again at its end: a
case leaves no key behind in somebody's Redis. So each transcript begins and ends with the answer to DEL, ``:0`` or ``:1``.
"""

from minproto.prove.case import Case
from minproto.prove.cases.resp import HELLO_3, command


def _case(name: str, entry: str, commands: str, right: str, before: bytes = b"") -> Case:
    """Return a case. ``commands``: separated by ``|``; KEY stands for the name of the stream. ``right``: the
    transcript between the answers to DEL."""
    key = f"minproto-prove-{name.rpartition('/')[2]}"
    said = b"".join(command(*words.replace("KEY", key).split()) for words in f"DEL KEY|{commands}|DEL KEY".split("|"))
    hello = r"%7 .* \$7 modules \*0 " if before else ""
    return Case(f"resp/{name}", entry, (before + said,), rf"{hello}:[01] {right.replace('KEY', key)} :[01] open")


def _entry(id: str, value: str = "v") -> str:
    """Return the pattern of an entry with the field ``f``."""
    return rf"\*2 \$3 {id} \*2 \$1 f \$1 {value}"


_TWO = "XADD KEY 1-1 f v|XADD KEY 2-1 f v"
_ADDED_TWO = r"\$3 1-1 \$3 2-1"
_GROUP = f"XGROUP CREATE KEY g 0 MKSTREAM|{_TWO}"
_MADE = rf"\+OK {_ADDED_TWO}"
_READ = "XREADGROUP GROUP g w1 COUNT 1 STREAMS KEY >"


def _read(*entries: str) -> str:
    """Return the pattern of what a reader gets of the stream."""
    return rf"\*1 \*2 \$\d+ KEY \*{len(entries)} " + " ".join(entries)


STREAMS = (
    _case(
        "streams/newest-first",
        "resp-streams-reverse",
        f"{_TWO}|XREVRANGE KEY + -|XREVRANGE KEY 2 1 COUNT 1",
        rf"{_ADDED_TWO} \*2 {_entry('2-1')} {_entry('1-1')} \*1 {_entry('2-1')}",
    ),
    _case(
        "streams/info",
        "resp-streams-info",
        f"{_TWO}|XDEL KEY 1-1|XINFO STREAM KEY",
        rf"{_ADDED_TWO} :1 \*\d+ .*last-generated-id \$3 2-1 .*max-deleted-entry-id \$3 1-1 .*",
    ),
    _case("streams/add", "resp-XADD-append", "XADD KEY 5-1 f v|XRANGE KEY - +", rf"\$3 5-1 \*1 {_entry('5-1')}"),
    _case(
        "streams/add-ids",
        "resp-XADD-ids",
        "XADD KEY 5-1 f v|XADD KEY 5-1 f v|XADD KEY 0-0 f v|XADD KEY 5-* f v",
        r"\$3 5-1 -ERR The ID specified in XADD is equal or smaller.* -ERR The ID specified in XADD must be greater.* \$3 5-2",
    ),
    _case(
        "streams/add-to-none",
        "resp-XADD-nomkstream",
        "XADD KEY NOMKSTREAM 1-1 f v|EXISTS KEY",
        r"\$-1 :0",
    ),
    _case(
        "streams/add-and-trim",
        "resp-XADD-trim",
        f"{_TWO}|XADD KEY MAXLEN = 1 3-1 f v|XLEN KEY",
        rf"{_ADDED_TWO} \$3 3-1 :1",
    ),
    _case(
        "streams/add-is-no-publish",
        "resp-XADD-unheard",
        "SUBSCRIBE KEY|XADD KEY 1-1 f v|XLEN KEY",
        r">3 \$9 subscribe \$\d+ KEY :1 \$3 1-1 :1",
        HELLO_3,
    ),
    _case("streams/delete-entries", "resp-XDEL-delete", f"{_TWO}|XDEL KEY 1-1 9-9|XLEN KEY", rf"{_ADDED_TWO} :1 :1"),
    _case("streams/trim", "resp-XTRIM-trim", f"{_TWO}|XTRIM KEY MINID 2|XLEN KEY", rf"{_ADDED_TWO} :1 :1"),
    _case(
        "streams/delete-stream",
        "resp-DEL-exists",
        f"{_TWO}|EXISTS KEY|TYPE KEY|DEL KEY|TYPE KEY",
        rf"{_ADDED_TWO} :1 \+stream :1 \+none",
    ),
)

GROUPS = (
    _case(
        "groups/create",
        "resp-XGROUP-create",
        "XGROUP CREATE KEY g $|XGROUP CREATE KEY g $ MKSTREAM|XGROUP CREATE KEY g $",
        r"-ERR .* \+OK -BUSYGROUP .*",
    ),
    _case(
        "groups/change",
        "resp-XGROUP-change",
        f"{_GROUP}|XGROUP CREATECONSUMER KEY g w1|XGROUP SETID KEY g 1-1|{_READ}|XGROUP DELCONSUMER KEY g w1"
        "|XGROUP DESTROY KEY g",
        rf"{_MADE} :1 \+OK {_read(_entry('2-1'))} :1 :1",
    ),
    _case(
        "groups/read",
        "resp-XREADGROUP-new",
        f"{_GROUP}|{_READ}|XREADGROUP GROUP g w2 STREAMS KEY >|{_READ}",
        rf"{_MADE} {_read(_entry('1-1'))} {_read(_entry('2-1'))} \*-1",
    ),
    _case(
        "groups/read-again",
        "resp-XREADGROUP-own",
        f"{_GROUP}|{_READ}|XREADGROUP GROUP g w1 STREAMS KEY 0|XREADGROUP GROUP g w2 STREAMS KEY 0",
        rf"{_MADE} {_read(_entry('1-1'))} {_read(_entry('1-1'))} \*1 \*2 \$\d+ KEY \*0",
    ),
    _case(
        "groups/wait",
        "resp-XREADGROUP-block",
        "XGROUP CREATE KEY g 0 MKSTREAM|XREADGROUP GROUP g w1 BLOCK 20 STREAMS KEY >",
        r"\+OK \*-1",
    ),
    _case(
        "groups/read-without-acknowledgement",
        "resp-XREADGROUP-noack",
        f"{_GROUP}|XREADGROUP GROUP g w1 NOACK STREAMS KEY >|XPENDING KEY g",
        rf"{_MADE} {_read(_entry('1-1'), _entry('2-1'))} \*4 :0 \$-1 \$-1 \*-1",
    ),
    _case(
        "groups/acknowledge",
        "resp-XACK-done",
        f"{_GROUP}|{_READ}|XACK KEY g 1-1 2-1|XACK KEY g 1-1|XREADGROUP GROUP g w1 STREAMS KEY 0",
        rf"{_MADE} {_read(_entry('1-1'))} :1 :0 \*1 \*2 \$\d+ KEY \*0",
    ),
    _case(
        "groups/pending",
        "resp-XPENDING-short",
        f"{_GROUP}|XREADGROUP GROUP g w1 STREAMS KEY >|XPENDING KEY g",
        rf"{_MADE} {_read(_entry('1-1'), _entry('2-1'))} \*4 :2 \$3 1-1 \$3 2-1 \*1 \*2 \$2 w1 \$1 2",
    ),
    _case(
        "groups/pending-entries",
        "resp-XPENDING-entries",
        f"{_GROUP}|{_READ}|XPENDING KEY g - + 10|XPENDING KEY g IDLE 99999999 - + 10",
        rf"{_MADE} {_read(_entry('1-1'))} \*1 \*4 \$3 1-1 \$2 w1 :\d+ :1 \*0",
    ),
    _case(
        "groups/claim",
        "resp-XCLAIM-idle",
        f"{_GROUP}|{_READ}|XCLAIM KEY g w2 99999999 1-1|XCLAIM KEY g w2 0 1-1|XPENDING KEY g - + 10 w2",
        rf"{_MADE} {_read(_entry('1-1'))} \*0 \*1 {_entry('1-1')} \*1 \*4 \$3 1-1 \$2 w2 :\d+ :2",
    ),
    _case(
        "groups/claim-what-lies",
        "resp-XAUTOCLAIM-idle",
        f"{_GROUP}|XREADGROUP GROUP g w1 STREAMS KEY >|XAUTOCLAIM KEY g w2 0 0 COUNT 1 JUSTID"
        "|XAUTOCLAIM KEY g w2 0 2-1 JUSTID",
        rf"{_MADE} {_read(_entry('1-1'), _entry('2-1'))} \*3 \$3 2-1 \*1 \$3 1-1 \*0 \*3 \$3 0-0 \*1 \$3 2-1 \*0",
    ),
    _case(
        "groups/info",
        "resp-XINFO-groups",
        f"{_GROUP}|{_READ}|XINFO GROUPS KEY",
        rf"{_MADE} {_read(_entry('1-1'))} \*1 \*12 \$4 name \$1 g \$9 consumers :1 \$7 pending :1 "
        r"\$17 last-delivered-id \$3 1-1 \$12 entries-read :1 \$3 lag :1",
    ),
    _case(
        "groups/consumers",
        "resp-XINFO-consumers",
        f"{_GROUP}|{_READ}|XINFO CONSUMERS KEY g",
        rf"{_MADE} {_read(_entry('1-1'))} \*1 \*6 \$4 name \$2 w1 \$7 pending :1 \$4 idle :\d+",
    ),
)

CASES = (*STREAMS, *GROUPS)
