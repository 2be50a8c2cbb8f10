"""HTTPS from one's own program: what a TLS context has to offer, and what is said of one that does not."""

import logging
import re
import shutil
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from minproto import Broker, BrokerServer, Request, Response, Server, connect_http, connect_http2, tls_context

from .serving import Certificate, free_port

PAGE = (Path(__file__).parents[2] / "docs" / "options.md").read_text()


async def app(request: Request) -> Response:
    return Response.text(request.head.version)


def server_side(certificate: Certificate) -> ssl.SSLContext:
    """A context as most programs make it."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.chain, certificate.key)
    return context


@pytest.fixture
def encrypted(certificate: Certificate, tmp_path: Path) -> str:
    """The key, with the password "secret"."""
    key = str(tmp_path / "encrypted.pem")
    words = ["openssl", "pkey", "-aes256", "-in", certificate.key, "-passout", "pass:secret", "-out", key]
    subprocess.run(words, check=True, timeout=20)
    return key


async def test_tls_context_offers_both_versions(certificate: Certificate, trust: ssl.SSLContext) -> None:
    trust_h2 = ssl.create_default_context(cafile=certificate.authority)
    trust_h2.set_alpn_protocols(["h2"])
    context = tls_context(Path(certificate.chain), Path(certificate.key))
    async with Server(app, port=0, host="localhost", ssl=context) as server:
        async with await connect_http("localhost", server.port, trust) as client:
            assert await (await client.request("GET", "/")).read() == b"1.1"
        async with await connect_http2("localhost", server.port, trust_h2) as second:
            assert await (await second.request("GET", "/")).read() == b"2"


def test_what_http2_demands_of_tls(certificate: Certificate) -> None:
    """RFC 9113 §9.2: TLS 1.2 or later, neither compression nor renegotiation, and no suite that Appendix A prohibits."""
    context = tls_context(certificate.chain, certificate.key)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_COMPRESSION and context.options & ssl.OP_NO_RENEGOTIATION
    for suite in context.get_ciphers():
        assert suite["aead"] and (suite["protocol"] == "TLSv1.3" or suite["name"].startswith("ECDHE-")), suite["name"]


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """Shake hands in memory, and return the client's end."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="localhost"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    left = list(ends)
    for _ in range(10):
        for end in left[:]:
            try:
                end.do_handshake()
                left.remove(end)
            except ssl.SSLWantReadError:
                pass
    assert not left
    return ends[0]


def test_a_suite_that_each_client_of_http2_has(certificate: Certificate) -> None:
    """RFC 9113 §9.2.2, with P-256 (§9.2.1): in TLS 1.2, a client that offers no other is served. Which of the two names counts
    depends on the key of the certificate."""
    names = "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"
    server = tls_context(certificate.chain, certificate.key)
    assert {suite["name"] for suite in server.get_ciphers()}.issuperset(names)
    client = ssl.create_default_context(cafile=certificate.authority)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers(":".join(names))
    client.set_ecdh_curve("prime256v1")
    client.set_alpn_protocols(["h2"])
    end = handshake(server, client)
    cipher = end.cipher()
    assert cipher is not None and cipher[0] in names and end.selected_alpn_protocol() == "h2"


@pytest.mark.needs("openssl")
def test_the_password_of_an_encrypted_key(certificate: Certificate, encrypted: str) -> None:
    """Without one nothing asks on the terminal, where it would wait for ever."""
    assert tls_context(certificate.chain, encrypted, "secret")
    assert tls_context(certificate.chain, encrypted, password="secret")
    with pytest.raises(OSError, match=r"encrypted\.pem: the key is encrypted, and no password was given$"):
        tls_context(certificate.chain, encrypted)
    with pytest.raises(OSError, match=r"encrypted\.pem: .*\(is the password right\?\)$") as caught:
        tls_context(certificate.chain, encrypted, "wrong")
    assert "wrong" not in str(caught.value)


@pytest.mark.needs("openssl")
def test_the_command_line_asks_for_no_password(certificate: Certificate, encrypted: str) -> None:
    words = [sys.executable, "-m", "minproto", "serve", "--port", "0", "--tls-cert", certificate.chain, "--tls-key", encrypted]
    done = subprocess.run(words, text=True, capture_output=True, timeout=20, stdin=subprocess.DEVNULL, start_new_session=True)
    assert done.returncode == 1 and done.stderr.endswith("the key is encrypted, and no password was given\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "options", "error", "says"),
    [
        ((None,), {}, TypeError, "certificate has to be the path of a file, not NoneType"),
        (("",), {}, ValueError, "certificate has to be the path"),
        ((b"chain.pem",), {}, TypeError, "certificate has to be the path"),
        (("chain.pem", ""), {}, ValueError, "key has to be the path"),
        (("chain.pem", 5), {}, TypeError, "key has to be the path"),
        (("chain.pem", "key.pem"), {"password": ""}, ValueError, "password has to be a str that is not empty"),
        (("chain.pem", "key.pem"), {"password": b"secret"}, TypeError, "password has to be a str or None, not bytes"),
        (("missing.pem",), {}, OSError, "missing.pem"),
    ],
)
def test_a_wrong_argument_of_tls_context(arguments: Any, options: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        tls_context(*arguments, **options)
    assert "\n" not in str(caught.value)


def test_no_error_shows_a_private_key(certificate: Certificate) -> None:
    """Whoever gives the key itself, and not its file, must not find it in a log."""
    key = Path(certificate.key).read_text()
    for given in (key, key.encode(), [key]):
        with pytest.raises((TypeError, ValueError), match="key has to be the path of a file, not ") as caught:
            tls_context(certificate.chain, given)  # type: ignore[arg-type]
        assert "PRIVATE" not in str(caught.value)


def test_a_server_says_that_a_context_offers_no_http2(certificate: Certificate, caplog: pytest.LogCaptureFixture) -> None:
    """Once, when it is made; not where the program chose HTTP/1.1 by itself, and not for the broker, which has no ALPN."""
    context = server_side(certificate)
    with caplog.at_level(logging.WARNING, "minproto"):
        Server(app, ssl=context)
        assert [record.message for record in caplog.records] == [
            "clients get HTTP/1.1: ssl offers no HTTP/2 (ALPN), as a context of minproto.tls_context does"
        ]
        caplog.clear()
        BrokerServer(Broker(), ssl=context)
        context.set_alpn_protocols(["http/1.1"])
        Server(app, ssl=context)
        Server(app, ssl=tls_context(certificate.chain, certificate.key))
        Server(app)
        assert not caplog.records


@pytest.mark.parametrize("make", [lambda ssl: Server(app, ssl=ssl), lambda ssl: BrokerServer(Broker(), ssl=ssl)])
def test_a_context_that_can_serve_nobody_is_refused(make: Any, trust: ssl.SSLContext) -> None:
    with pytest.raises(ValueError, match=r"context for a server, as minproto\.tls_context.* this is one for a client"):
        make(trust)
    with pytest.raises(ValueError, match="context with a certificate"):
        make(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))


def test_other_contexts_are_left_alone(certificate: Certificate, caplog: pytest.LogCaptureFixture) -> None:
    """Client certificates, TLS 1.2 alone, and a certificate that is chosen by name."""
    asks = tls_context(certificate.chain, certificate.key)
    asks.verify_mode = ssl.CERT_REQUIRED
    old = tls_context(certificate.chain, certificate.key)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    by_name = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    by_name.sni_callback = lambda *_: None  # type: ignore[assignment]
    for context in asks, old, by_name:
        Server(app, ssl=context)
    assert not caplog.records


@pytest.mark.needs("openssl", "curl")
def test_the_https_of_the_page(tmp_path: Path) -> None:
    """The command, the program and the answer, but for the port."""
    command = re.search(r"(?s)```sh\n(openssl .*?)```", PAGE)
    program = next(code for code in re.findall(r"(?s)```python\n(.*?)```", PAGE) if "tls_context(" in code)
    asked = re.search(r"`(curl --cacert [^`]*)` prints `([^`]*)`", PAGE)
    assert command and asked
    subprocess.run(command[1], shell=True, check=True, capture_output=True, cwd=tmp_path, timeout=20)
    port = free_port()
    with subprocess.Popen([sys.executable, "-c", program.replace("8443", str(port))], cwd=tmp_path) as server:
        try:
            words = asked[1].replace("8443", str(port)).split()
            curl = [str(shutil.which("curl")), "-sS", "--retry", "20", "--retry-connrefused", "--retry-delay", "1", *words[1:]]
            done = subprocess.run(curl, cwd=tmp_path, text=True, capture_output=True, timeout=60)
            assert done.stdout.strip() == asked[2], done.stderr
        finally:
            server.terminate()
