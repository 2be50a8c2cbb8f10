"""What an eavesdropper can read: the name of the server and the protocol, but neither the path nor the
certificate."""

import ssl

import trustme

WHAT = {"server name": b"shop.example", "ALPN": b"h2", "certificate": b"trustme", "path": b"/secret", "cookie": b"id=1234"}
authority = trustme.CA()
wire = bytearray()  # everything that has crossed, in both directions


def move(sender: ssl.MemoryBIO, receiver: ssl.MemoryBIO) -> bytes:
    """Carry all bytes across, and keep a copy, as a machine on the network path can do."""
    data = sender.read()
    receiver.write(data)
    wire.extend(data)
    return data


def talk(version: ssl.TLSVersion) -> None:
    for_server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("shop.example").configure_cert(for_server)
    for_client = ssl.create_default_context()
    authority.configure_trust(for_client)
    for context in for_server, for_client:
        context.minimum_version = context.maximum_version = version
        context.set_alpn_protocols(["h2"])
    up, down, up2, down2 = (ssl.MemoryBIO() for _ in range(4))
    client = for_client.wrap_bio(down2, up, server_hostname="shop.example")
    server = for_server.wrap_bio(up2, down, server_side=True)
    for _ in range(2):  # ClientHello, the server's flight, the client's Finished
        for end, sender, receiver in (client, up, up2), (server, down, down2):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
            move(sender, receiver)
    client.write(b"GET /secret HTTP/1.1\r\nCookie: id=1234\r\n\r\n")
    request = move(up, up2)
    seen = [f"{name} {'readable' if text in wire else 'hidden'}" for name, text in WHAT.items()]
    print(f"{client.version()}:", *seen, sep="  ")
    print(f"         a request of 41 bytes crosses as {len(request)}; the server reads {len(server.read())}")
    wire.clear()


talk(ssl.TLSVersion.TLSv1_2)
talk(ssl.TLSVersion.TLSv1_3)
