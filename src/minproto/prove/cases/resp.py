"""RESP: commands and replies of publish/subscribe, as redis-server 7.0 answers them."""

from minproto.prove.case import Case

CASES = (
    Case("resp/protocol/inline", "", (b"PING\r\n",), right=r"\+PONG open", why="People type commands into telnet."),
)  # fmt: skip
