"""Whom a client takes for the server of a https URL: RFC 9110 §4.3.4, with the certificates of a real authority."""

import ssl
from types import ModuleType
from typing import Any

import pytest

from minproto.aio.address import Address
from minproto.aio.options import client_context


@pytest.fixture(scope="module")
def authority(trustme: ModuleType) -> Any:
    return trustme.CA()


def handshake(authority: Any, certificate: Any, host: str) -> str:
    """Connect a client to ``host`` and a server with this certificate, in memory. Return the client's error, or ""."""
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(server_side)
    client_side = client_context(None, "https", "https")
    assert client_side is not None
    authority.configure_trust(client_side)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_side.wrap_bio(to_client, to_server, server_hostname=Address(host, 443).server_name)
    server = server_side.wrap_bio(to_server, to_client, server_side=True)
    for end in (client, server, client, server):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError as error:
            return error.verify_message
    return ""


@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("example.org", ["example.org"]),
        ("EXAMPLE.org.", ["example.org"]),
        ("www.example.org", ["*.example.org"]),
        ("192.0.2.1", ["192.0.2.1"]),
        ("[2001:db8::1]", ["2001:db8:0::1"]),
    ],
)
def test_a_certificate_for_the_host_is_taken(authority: Any, host: str, names: list[str]) -> None:
    """§4.3.5: the identity of an address is its bytes, however it is spelled."""
    assert handshake(authority, authority.issue_cert(*names), host) == ""


@pytest.mark.parametrize(
    ("host", "names"),
    [("example.org", ["example.com"]), ("192.0.2.1", ["192.0.2.2"]), ("a.b.example.org", ["*.example.org"])],
)
def test_a_certificate_for_another_host_is_refused(authority: Any, host: str, names: list[str]) -> None:
    assert "mismatch" in handshake(authority, authority.issue_cert(*names), host)


def test_an_address_needs_a_certificate_for_the_address(authority: Any) -> None:
    """§4.3.4: the reference identity of a literal address is an IP-ID, so the same text as a name does not count."""
    assert "mismatch" in handshake(authority, authority.issue_cert("example.org", common_name="192.0.2.1"), "192.0.2.1")


def test_the_common_name_of_a_certificate_does_not_count(authority: Any) -> None:
    """§4.3.4: a client MUST NOT use a CN-ID. Python's default context does, where a certificate has no other name."""
    assert "mismatch" in handshake(authority, authority.issue_cert(common_name="example.org"), "example.org")


def test_a_certificate_of_nobody_is_refused(trustme: ModuleType, authority: Any) -> None:
    stranger = trustme.CA().issue_cert("example.org")
    assert handshake(authority, stranger, "example.org") == "unable to get local issuer certificate"
