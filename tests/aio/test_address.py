"""What a client calls a server: for DNS, for TLS and in Host. And which authorities are the same."""

from urllib.parse import urlsplit

import pytest

from minproto.aio.address import Address, is_origin_of, request_target, url_address
from minproto.http import same_authority


@pytest.mark.parametrize(
    ("host", "connects", "name", "authority"),
    [
        ("example.org", "example.org", "example.org", "example.org"),
        ("EXAMPLE.Org", "example.org", "example.org", "example.org"),
        ("example.org.", "example.org.", "example.org", "example.org."),
        ("bücher.example", "xn--bcher-kva.example", "xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("BÜCHER。example", "xn--bcher-kva.example", "xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("my_host", "my_host", "my_host", "my_host"),
        ("127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.1"),
        ("::1", "::1", "::1", "[::1]"),
        ("[::1]", "::1", "::1", "[::1]"),
        ("0:0:0:0:0:0:0:1", "::1", "::1", "[::1]"),
        ("FE80::A", "fe80::a", "fe80::a", "[fe80::a]"),
        ("::1%1", "::1%1", "::1", "[::1]"),
        ("fe80::1%eth0", "fe80::1%eth0", "fe80::1", "[fe80::1]"),
        ("[FE80::1%eth0]", "fe80::1%eth0", "fe80::1", "[fe80::1]"),
    ],
)
def test_a_host_has_a_name_for_each_use(host, connects, name, authority):
    address = Address(host, 443)
    assert (address.connect_host, address.server_name, address.authority("https")) == (connects, name, authority)
    assert address.authority("http") == f"{authority}:443"


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://www.example.org/where?q=now", "/where?q=now"),
        ("http://www.example.org", "/"),
        ("http://www.example.org?q", "/?q"),
        ("http://me:secret@www.example.org:80/a//b?c?d#fragment", "/a//b?c?d"),
    ],
)
def test_the_target_of_a_url_is_its_path_and_query(url, target):
    """RFC 9112 §3.2.1: a client MUST send nothing else to an origin server, and "/" for an empty path."""
    assert request_target(urlsplit(url)) == target


@pytest.mark.parametrize(
    "host", ["", ".", "a..b", "http://a", "a:80", "[a]", "a b", "a/b", "a@b", "::1%", ":::1", "a%20b c", "x" * 64, "[::1]:80"]
)
def test_what_is_no_host_is_refused(host):
    with pytest.raises(ValueError, match="host"):
        Address(host, 80)


def test_a_port_has_16_bits():
    with pytest.raises(ValueError, match="65536"):
        Address("a", 65_536)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a", ("a", 80)),
        ("https://a:", ("a", 443)),
        ("ws://A:81/x", ("a", 81)),
        ("redis://a", ("a", 6379)),
        ("http://[::1%251]:80", ("::1%1", 80)),
        ("http://[::1%1]", ("::1%1", 80)),
        ("http://[fe80::1%25eth0]", ("fe80::1%eth0", 80)),
        ("http://[fe80::1%eth0]", ("fe80::1%eth0", 80)),
        ("http://ex%61mple.org", ("example.org", 80)),
        ("http://b%C3%BCcher.example", ("xn--bcher-kva.example", 80)),
    ],
)
def test_an_address_of_a_url(url, expected):
    address = url_address(urlsplit(url))
    assert (address.connect_host, address.port) == expected


@pytest.mark.parametrize("url", ["http://", "http://:80", "http://a%2fb", "http://a%40b", "http://a:99999"])
def test_a_url_without_a_valid_host(url):
    with pytest.raises(ValueError):
        url_address(urlsplit(url))


def test_the_url_of_an_address_keeps_the_zone_for_this_machine():
    address = Address("fe80::1%eth0", 8000)
    assert address.url("http") == "http://[fe80::1%25eth0]:8000"
    assert url_address(urlsplit(address.url("http"))) == address


@pytest.mark.parametrize(
    ("a", "b", "scheme"),
    [
        ("a", "a", ""),
        ("a", "A:80", "http"),
        ("a:443", "a", "https"),
        ("a:", "a:80", "ws"),
        ("a", "a:443", "wss"),
        ("a:080", "a", "http"),
        ("[::1]", "[0:0:0:0:0:0:0:1]:80", "http"),
        ("[::FFFF:1.2.3.4]", "[::ffff:102:304]", "http"),
        ("[v1.A]", "[v1.a]:80", "http"),
    ],
)
def test_authorities_that_are_the_same(a, b, scheme):
    assert same_authority(a, b, scheme) and same_authority(b, a, scheme)


@pytest.mark.parametrize(
    ("a", "b", "scheme"),
    [
        ("a", "b", "http"),
        ("a", "a:443", "http"),
        ("a:80", "a", "https"),
        ("a", "a:80", ""),
        ("a", "a:0", ""),
        ("a", "a.", "http"),
        ("a", "[::1]", "http"),
        ("a", "a:x", "http"),
        ("a:80", "a:8o", "http"),
        ("", "a", "http"),
        ("a", "", "http"),
    ],
)
def test_authorities_that_differ(a, b, scheme):
    assert not same_authority(a, b, scheme) and not same_authority(b, a, scheme)


@pytest.mark.parametrize(
    ("origin", "authority", "same"),
    [
        ("https://a", "a", True),
        ("https://a", "a:443", True),
        ("http://a", "A:80", True),
        ("http://a:8000", "a:8000", True),
        ("http://[::1]:8000", "[0::1]:8000", True),
        ("http://a", "a:443", False),
        ("https://a", "a:80", False),
        ("http://a.evil", "a", False),
        ("null", "null", False),
        ("", "", False),
        ("://", "", False),
        ("https://", "", False),
        ("http://a@b", "b", False),
    ],
)
def test_an_origin_is_compared_with_a_host(origin, authority, same):
    assert is_origin_of(origin, authority) is same
