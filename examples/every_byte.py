"""Every byte of a connection, with its name: the objects from which ``minproto wire`` makes its lines.

It prints:

    client: GET /
        b'GET '                     method = GET
        b'/ '                       request-target = /
        b'HTTP/1.1\\r\\n'             HTTP-version = 1.1
        b'Host: a\\r\\n'              host = a
        b'\\r\\n'                     empty line
    server: 200 OK
        b'HTTP/1.1 '                HTTP-version = 1.1
        b'200 '                     status-code = 200
        b'OK\\r\\n'                   reason-phrase = OK
        b'Content-Length: 2\\r\\n'    content-length = 2
        b'\\r\\n'                     empty line
    server: content, 2 bytes
        b'hi'                       content = hi
"""

from minproto.core import CLIENT, SERVER
from minproto.explain import Explainer

explainer = Explainer()
for sender, data in [
    (CLIENT, b"GET / HTTP/1.1\r\nHo"),  # the bytes may arrive in any pieces
    (CLIENT, b"st: a\r\n\r\n"),
    (SERVER, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
]:
    explainer.receive_data(sender, data)
    for row in explainer.rows():
        print(f"{row.sender.value}: {row.title}")
        for field in row.fields:
            says = f"{field.name} = {field.value}" if field.value else field.name
            print(f"    {field.raw!s:27} {says}")
