"""ALPN: client and server agree on the protocol inside of TLS during the handshake, without a round trip of its own."""

import ssl

import trustme

certificate = trustme.CA().issue_cert("localhost")


def chosen(client_speaks: list[str], server_speaks: list[str]) -> str | None:
    """Do a handshake in memory. Return the protocol that both have agreed on."""
    for_server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(for_server)
    for_client = ssl._create_unverified_context()  # the next program shows why nobody should do this
    for context, speaks in (for_client, client_speaks), (for_server, server_speaks):
        if speaks:
            context.set_alpn_protocols(speaks)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client, server = for_client.wrap_bio(down, up), for_server.wrap_bio(up, down, server_side=True)
    for end in client, server, client, server:
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            pass
    return server.selected_alpn_protocol()


for speaks in ["h2", "http/1.1"], ["http/1.1", "h2"], ["http/1.1"], ["h3"], []:
    result = chosen(speaks, ["h2", "http/1.1"])
    print(f"client: {', '.join(speaks) or 'no ALPN':14}  server: h2, http/1.1  chosen: {result}")
