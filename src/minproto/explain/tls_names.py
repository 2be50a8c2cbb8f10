"""The names of TLS's numbers, from the registries that RFC 8446 §11 sets up: those that clients and servers use today."""

VERSIONS = {0x0300: "SSL 3.0", 0x0301: "TLS 1.0", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2", 0x0304: "TLS 1.3"}

CONTENT_TYPES = {20: "change cipher spec", 21: "alert", 22: "handshake", 23: "application data"}

HANDSHAKES = {1: "ClientHello: what the client can do", 2: "ServerHello: what the server has chosen"}

ALERTS = {
    0: "close_notify: this side will send no more", 10: "unexpected message", 20: "bad record MAC", 22: "record overflow",
    40: "handshake failure: nothing in common", 42: "bad certificate", 43: "unsupported certificate",
    44: "certificate revoked", 45: "certificate expired", 46: "certificate unknown", 47: "illegal parameter",
    48: "unknown certificate authority", 49: "access denied", 50: "decode error", 51: "decrypt error",
    70: "no common version of TLS", 71: "insufficient security", 80: "internal error", 86: "inappropriate fallback",
    90: "user cancelled", 109: "missing extension", 110: "unsupported extension", 112: "unknown server name",
    116: "certificate required", 120: "no common application protocol (ALPN)",
}  # fmt: skip

CIPHERS = {
    0x1301: "TLS_AES_128_GCM_SHA256", 0x1302: "TLS_AES_256_GCM_SHA384", 0x1303: "TLS_CHACHA20_POLY1305_SHA256",
    0x1304: "TLS_AES_128_CCM_SHA256", 0xC02B: "ECDHE_ECDSA_AES128_GCM_SHA256", 0xC02C: "ECDHE_ECDSA_AES256_GCM_SHA384",
    0xC02F: "ECDHE_RSA_AES128_GCM_SHA256", 0xC030: "ECDHE_RSA_AES256_GCM_SHA384", 0xCCA8: "ECDHE_RSA_CHACHA20_POLY1305",
    0xCCA9: "ECDHE_ECDSA_CHACHA20_POLY1305", 0x00FF: "renegotiation info", 0x5600: "fallback",
}  # fmt: skip

EXTENSIONS = {
    0: ("server name", "the host that the client asks for (SNI), readable by everybody on the way"),
    5: ("status request", "the client would like a proof that the certificate is not revoked"),
    10: ("supported groups", "for the key exchange, in the client's order of preference"),
    11: ("point formats", "how a point of a curve is written, in TLS 1.2"),
    13: ("signature algorithms", "that the client can verify"),
    16: ("ALPN", "the protocol inside of TLS: all that the client speaks, or the one that the server chose"),
    18: ("certificate timestamps", "the client would like a proof that the certificate is in a public log"),
    21: ("padding", "nothing but length"),
    22: ("encrypt then MAC", "an improvement of TLS 1.2"),
    23: ("extended master secret", "an improvement of TLS 1.2"),
    27: ("compress certificate", "how the certificate may be compressed"),
    35: ("session ticket", "to resume an earlier session of TLS 1.2"),
    41: ("pre-shared key", "to resume an earlier session"),
    42: ("early data", "data is sent before the handshake is done, and can be replayed"),
    43: ("supported versions", "of TLS: all that the client speaks, or the one that the server chose"),
    44: ("cookie", "proves that the client has seen the server's HelloRetryRequest"),
    45: ("pre-shared key modes", "how an earlier session may be resumed"),
    49: ("post-handshake authentication", "the client can show a certificate later"),
    50: ("signature algorithms for certificates", "that the client can verify"),
    51: ("key share", "public keys: from one of each side, both compute the same secret"),
    65281: ("renegotiation info", "an improvement of TLS 1.2"),
}
"""The type of an extension -> its name, and what it means."""

GROUPS = {
    23: "secp256r1", 24: "secp384r1", 25: "secp521r1", 29: "x25519", 30: "x448", 256: "ffdhe2048", 257: "ffdhe3072",
    258: "ffdhe4096", 259: "ffdhe6144", 260: "ffdhe8192", 4588: "X25519MLKEM768",
}  # fmt: skip

SIGNATURES = {
    0x0201: "rsa_pkcs1_sha1", 0x0203: "ecdsa_sha1", 0x0401: "rsa_pkcs1_sha256", 0x0403: "ecdsa_secp256r1_sha256",
    0x0501: "rsa_pkcs1_sha384", 0x0503: "ecdsa_secp384r1_sha384", 0x0601: "rsa_pkcs1_sha512", 0x0603: "ecdsa_secp521r1_sha512",
    0x0804: "rsa_pss_rsae_sha256", 0x0805: "rsa_pss_rsae_sha384", 0x0806: "rsa_pss_rsae_sha512", 0x0807: "ed25519",
    0x0808: "ed448", 0x0809: "rsa_pss_pss_sha256", 0x080A: "rsa_pss_pss_sha384", 0x080B: "rsa_pss_pss_sha512",
}  # fmt: skip
