r"""The attack on step 3: requests whose end a proxy and the server find in different places (request smuggling).

A proxy in front of the server blocks each request for /admin, and sends the requests of all users over one connection. The
attacker puts a request for /admin where the proxy sees content. It prints:

    a Content-Length, and chunks
        the proxy sees  POST /form
        step3_cuts      POST /form, GET /admin, a malformed request
        step4_framing   400 doubtful framing
    two different lengths
        the proxy sees  POST /form
        step3_cuts      POST /form, GET /admin
        step4_framing   400 doubtful framing
    a line that ends in \n, without \r
        the proxy sees  POST /form
        step3_cuts      POST /form, GET /admin
        step4_framing   400 malformed line
"""

from types import ModuleType

import step3_cuts
import step4_framing

POST = b"POST /form HTTP/1.1\r\nHost: a\r\n"
ADMIN = b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n"
ATTACKS = {
    "a Content-Length, and chunks": (
        b"%bContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (POST, len(ADMIN), ADMIN)
    ),
    "two different lengths": b"%bContent-Length: %d\r\nContent-Length: 0\r\n\r\n%b" % (POST, len(ADMIN), ADMIN),
    r"a line that ends in \n, without \r": b"%bX: a\nContent-Length: %d\r\n\r\n%b" % (POST, len(ADMIN), ADMIN),
}


def proxy(data: bytes) -> str:
    r"""Return the request that the proxy sees. It prefers chunks to a length, the first line to the second, and accepts \n."""
    head, _, rest = data.partition(b"\r\n\r\n")
    start, *lines = head.replace(b"\r\n", b"\n").split(b"\n")
    fields = dict(line.lower().split(b": ") for line in reversed(lines))
    size = rest.index(b"0\r\n\r\n") + 5 if b"transfer-encoding" in fields else int(fields[b"content-length"])
    assert size == len(rest)  # all of the bytes are content of one request
    return " ".join(start.decode().split(" ")[:2])


def requests(step: ModuleType, data: bytes) -> str:
    """Return the requests that a step reads from the bytes, as a server with keep-alive would answer them."""
    seen = []
    try:
        while data and (found := step.parse_request(data)):
            request, size = found
            seen.append(f"{request.method} {request.target}")
            data = data[size:]
    except ValueError:
        seen.append("a malformed request")
    except step4_framing.BadRequest as error:
        seen.append(f"400 {error}")
    return ", ".join(seen)


for name, data in ATTACKS.items():
    print(name)
    print("    the proxy sees ", proxy(data))
    print("    step3_cuts     ", requests(step3_cuts, data))
    print("    step4_framing  ", requests(step4_framing, data))
