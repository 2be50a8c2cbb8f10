"""Real peers, real sockets, real TLS. Not in the default run: ``pytest tests/interop --override-ini addopts=-q``"""
