"""Bytes at hand, explained: a part of one direction; and TLS as far as it is in the clear."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minproto import cli
from minproto.core import CLIENT, SERVER
from minproto.explain import Explainer, Row
from minproto.explain.once import PROTOCOLS, explain
from minproto.testing import cut


def fields(row: Row) -> dict[str, str]:
    return {field.name: field.value for field in row.fields}


@pytest.mark.parametrize(
    ("protocol", "data", "sender", "titles"),
    [
        ("", "47 45 54 20 2f 20 48 54 54 50 2f 31 2e 30 0d 0a 0d 0a", CLIENT, ["GET /"]),
        ("", "48 54 54 50 2f 31 2e 31 20 32 30 34 20 0d 0a 0d 0a", SERVER, ["204"]),
        ("websocket", "81 85 37 fa 21 3d 7f 9f 4d 51 58", CLIENT, ["text frame, 5 bytes"]),
        ("websocket", "81 05 48 65 6c 6c 6f 89 00", SERVER, ["text frame, 5 bytes", "Ping frame, 0 bytes"]),
        ("http2", "00 00 08 06 00 00 00 00 00 00 01 02 03 04 05 06 07", CLIENT, ["PING"]),
        ("http2", "50 52 49 20 2a 20 48 54 54 50 2f 32 2e 30 0d 0a 0d 0a 53 4d 0d 0a 0d 0a", CLIENT, ["preface"]),
        ("resp", "2b 50 4f 4e 47 0d 0a", SERVER, ["PONG"]),
        ("resp", "50 49 4e 47 0d 0a", CLIENT, ["PING"]),
        ("sse", "64 61 74 61 3a 20 78 0a 0a", SERVER, ["event stream"]),
        ("hpack", "82 87", CLIENT, ["field block"]),
        ("tls", "15 03 03 00 02 02 28", CLIENT, ["alert: handshake failure: nothing in common"]),
    ],
)
def test_a_part_of_a_connection_is_explained(protocol: str, data: str, sender: object, titles: list[str]) -> None:
    rows = explain(bytes.fromhex(data), protocol)
    assert [row.title.strip() for row in rows] == titles
    assert not any(row.error for row in rows)
    assert rows[0].offset == 0 and rows[0].sender is sender


@given(
    data=st.binary(max_size=200) | st.binary(max_size=60).map(b"\x16\x03\x01\0\x40".__add__),
    protocol=st.sampled_from(["", *PROTOCOLS]),
)
def test_whatever_the_bytes_each_is_in_a_row(data: bytes, protocol: str) -> None:
    assert b"".join(row.raw for row in explain(data, protocol)) == data


def test_a_field_block_that_can_not_be_decoded_is_shown_with_its_error() -> None:
    (row,) = explain(bytes.fromhex("82 80"), "hpack")
    assert row.error == "a field block that can't be decoded"
    assert [field.name for field in row.fields] == [":method", "malformed"]


# ---- TLS -------------------------------------------------------------------------------------------------------------


def client_hello(*protocols: str) -> bytes:
    """The first record of Python's own client."""
    context = ssl.create_default_context()
    context.set_alpn_protocols([*protocols])
    out = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="example.com")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return out.read()


HELLO = client_hello("h2")
SERVER_HELLO = bytes.fromhex(
    "16 03 03 00 38 02 00 00 34 03 03" + "11" * 32 + "00 13 02 00 00 0c" + "00 2b 00 02 03 04 00 33 00 02 00 1d"
)
RETRY = SERVER_HELLO.replace(
    b"\x11" * 32, bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
)


def test_a_client_hello_says_in_the_clear_what_is_asked_for() -> None:
    (row,) = explain(client_hello("h2", "http/1.1"))
    assert row.title == "ClientHello to example.com"
    shown = fields(row)
    assert shown["server name"] == "example.com"
    assert shown["ALPN"] == "h2, http/1.1"
    assert shown["supported versions"].startswith("TLS 1.3")
    assert "x25519" in shown["supported groups"] and "TLS_AES_128_GCM_SHA256" in shown["cipher suites"]


def test_a_server_hello_says_what_was_chosen() -> None:
    (row,) = explain(SERVER_HELLO)
    assert (row.sender, row.title, row.error) == (SERVER, "ServerHello", "")
    shown = fields(row)
    assert shown["cipher suite"] == "TLS_AES_256_GCM_SHA384" and shown["supported versions"] == "TLS 1.3"
    assert shown["key share"] == "x25519"
    assert explain(RETRY)[0].title == "HelloRetryRequest"


def test_what_is_encrypted_shows_its_length_alone() -> None:
    rows = explain(client_hello() + bytes.fromhex("14 03 03 00 01 01  17 03 03 00 03 aa bb cc"))
    assert [row.title for row in rows][1:] == ["change cipher spec", "application data"]
    assert rows[-1].fields[-1].meaning == "encrypted: only the two ends can read it"


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (SERVER_HELLO.replace(b"\x00\x2b\x00\x02", b"\x00\x2b\x00\xff"), "a length that is longer than"),
        (b"\x16\x03\x01\x00\x02\x01\x00", "a length that is longer than"),
        (b"\x16\x03\x01\x00", "the connection ended in the middle"),
        (b"\x16\x03\x01\xff\xff\x01", "this is not a TLS record"),
        (b"\x16\x03\x01\x00\x01\x01GET / HTTP/1.1\r\n", "this is not a TLS record"),
    ],
)
def test_a_broken_record_is_a_row_with_an_error(data: bytes, error: str) -> None:
    rows = explain(data, "tls")
    assert any(row.error.startswith(error) for row in rows)
    assert b"".join(row.raw for row in rows) == data


@given(data=st.data())
def test_records_are_explained_alike_however_they_are_cut(data: st.DataObject) -> None:
    stream = HELLO + bytes.fromhex("14 03 03 00 01 01  17 03 03 00 03 aa bb cc  15 03 03 00 02 01 00")
    pieces = cut(stream, data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    explainer = Explainer()

    def rows() -> Iterator[Row]:
        for piece in pieces:
            explainer.receive_data(CLIENT, piece)
            yield from explainer.rows()

    assert list(rows()) == explain(stream)


# ---- the command -----------------------------------------------------------------------------------------------------


def run(*words: str) -> int:
    try:
        return cli.main(["explain", *words])
    except SystemExit as ended:
        assert isinstance(ended.code, int)
        return ended.code


def test_the_command_explains_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    file = tmp_path / "frame.txt"
    file.write_text("0x81 85:37 fa 21 3d\n7f 9f 4d 51 58\n")
    assert run(str(file), "--hex", "--protocol", "websocket") == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "→ byte 0, WebSocket: text frame, 5 bytes"
    assert "payload = Hello" in printed[-1]


@pytest.mark.parametrize(
    ("content", "words", "says"),
    [
        ("", (), "nothing to explain: {} is empty"),
        ("8g", ("--hex",), "{} is not hexadecimal: non-hexadecimal number found"),
        ("é", ("--hex",), "{} is not hexadecimal: 'ascii' codec can't decode byte 0xc3"),
        ("81", ("--protocol", "gopher"), "argument --protocol: invalid choice: 'gopher' (choose from"),
        ("81", ("--from", "nobody"), "argument --from: invalid choice: 'nobody' (choose from"),
    ],
)
def test_bad_input_is_one_line(
    content: str, words: tuple[str, ...], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bytes"
    file.write_text(content)
    assert run(str(file), *words) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"minproto explain: {says.format(file)}") and printed.count("\n") == 1


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(str(tmp_path / "nothing")) == 1
    assert capfd.readouterr().err == f"minproto: No such file or directory: {tmp_path / 'nothing'}\n"
