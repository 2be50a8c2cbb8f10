"""The words of RESP: the bytes of the server's replies, with a blank for each end of a line.

    +PONG
    -ERR unknown command 'x', with args beginning with:
    *3 $9 subscribe $1 a :1

Replies that break the grammar add the word "malformed".
"""

from minproto.core import CLIENT, RemoteProtocolError
from minproto.prove.case import Case
from minproto.prove.target import Target
from minproto.prove.transcripts.base import Transcript
from minproto.resp import Connection


class Resp(Transcript):
    """Shows replies as they came, and checks them with our client's parser."""

    def __init__(self, case: Case, target: Target) -> None:
        super().__init__(case, target)
        self._core = Connection(CLIENT)
        self._received = ""

    def receive(self, data: bytes) -> bytes:
        """Read bytes. A client has no answer to send."""
        if self.why_malformed:
            return b""
        self._received += data.decode("latin-1")
        self.words = [" ".join(self._received.split("\r\n")).strip(" ")]
        self._core.receive_data(data)
        try:
            list(self._core.events())
        except RemoteProtocolError as error:
            self.malformed(str(error))
        return b""
