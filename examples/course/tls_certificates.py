"""A client checks three things in a certificate: the name, the authority that signed it, and the date."""

import ssl
from datetime import UTC, datetime

import trustme

ours, stranger = trustme.CA(), trustme.CA()
CERTIFICATES = {
    "right": ours.issue_cert("shop.example"),
    "another name": ours.issue_cert("blog.example"),
    "signed by a stranger": stranger.issue_cert("shop.example"),
    "expired": ours.issue_cert("shop.example", not_after=datetime(2020, 1, 1, tzinfo=UTC)),
}


def handshake(certificate: trustme.LeafCert, for_client: ssl.SSLContext) -> str:
    """Do a handshake in memory. Return "accepted", or the reason why the client refuses the certificate."""
    for_server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(for_server)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = for_client.wrap_bio(down, up, server_hostname="shop.example")
    server = for_server.wrap_bio(up, down, server_side=True)
    for end in client, server, client:
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLCertVerificationError as error:
            return f"refused: {error.verify_message}"
    return "accepted"


careful, careless = ssl.create_default_context(), ssl.create_default_context()
ours.configure_trust(careful)
careless.check_hostname, careless.verify_mode = False, ssl.CERT_NONE  # "verify=False" in many libraries
for name, certificate in CERTIFICATES.items():
    print(f"{name}:")
    print("  careful client: ", handshake(certificate, careful))
    print("  careless client:", handshake(certificate, careless))
