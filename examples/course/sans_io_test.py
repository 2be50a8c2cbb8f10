"""Shell 3: a test. There is no network, so the test itself decides where the bytes are cut and when the stream ends."""

from sans_io_core import Connection, Numbers

from minproto.core import RemoteProtocolError, Wants

STREAM = b"2 3\n10 20 30\n7 x\n"


def outcome(chunks: list[bytes]) -> list[object]:
    """Return the events of a stream in these chunks, and the error at its end."""
    core, events = Connection(), []
    try:
        for chunk in chunks:
            core.receive_data(chunk)
            events += core.events()
        core.receive_eof()
        events += core.events()
    except RemoteProtocolError as error:
        events.append(str(error))
    return events


expected = [Numbers([2, 3]), Numbers([10, 20, 30]), "a line is not numbers with one space between them"]
cuttings = [[STREAM[:one], STREAM[one:two], STREAM[two:]] for one in range(18) for two in range(one, 18)]
assert all(outcome(chunks) == expected for chunks in cuttings)
print(f"{len(cuttings)} ways to cut the stream, one outcome:", *expected, sep="\n  ")

print("a stream without an end of line:", outcome([b"1 2 3"]))
print("a line without an end:          ", outcome([b"1" * 50] * 3))

core = Connection()
core.receive_data(b"2 3\n4")
print("pulled:", core.next_event(), core.next_event(), core.wants is Wants.DATA, "and held:", core.buffered, "byte")
