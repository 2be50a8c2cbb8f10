"""HTTPS with HTTP/2, from a certificate of your own, which is renewed without a restart.

    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 30 -subj /CN=localhost \\
        -addext subjectAltName=DNS:localhost -keyout key.pem -out certificate.pem
    python examples/apps/https.py certificate.pem key.pem                  # two ports may follow: for HTTPS, and for HTTP

    curl --cacert certificate.pem https://localhost:8443/                  # Hello over HTTP/2!
    curl -i http://localhost:8000/a?b                                      # 308, to https://localhost:8443/a?b
    kill -HUP PID                                                          # the files have changed: new connections get them

The same port speaks HTTP/1.1 and HTTP/2: in the TLS handshake the client names the versions that it knows (ALPN), and the
server chooses. A second port sends people who type an address without https to the right one. ``Strict-Transport-Security``
makes the browser choose it by itself from then on, so nobody on the way can keep it on http.

Certificates live 90 days or less, so a program such as certbot renews them. OpenSSL copies the certificate into each
connection when its handshake begins. So it is enough to load the new files into the context that the server has: old
connections go on, and new ones get the new certificate. The files are tried on another context first. Where they do not fit
each other, the server goes on with the old ones.
"""

import asyncio
import logging
import signal
import sys

from minproto import Request, Response, Server, serve, tls_context

HOST = "localhost"


async def app(request: Request) -> Response:
    headers = {"strict-transport-security": "max-age=31536000"}
    return Response.text(f"Hello over HTTP/{request.head.version}!\n", headers=headers)


async def main(certificate: str, key: str, port: int = 8443, http_port: int = 8000) -> None:
    context = tls_context(certificate, key)

    def reload() -> None:
        try:
            tls_context(certificate, key)
            context.load_cert_chain(certificate, key)
            logging.warning("the certificate of %s is loaded", certificate)
        except OSError as error:
            logging.error("the old certificate stays: %s", error)

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)

    async def redirect(request: Request) -> Response:  # to a fixed host: the Host field is the client's word
        return Response(status=308, headers={"location": f"https://{HOST}:{port}{request.target}"})

    async with Server(redirect, host=HOST, port=http_port):
        await serve(app, host=HOST, port=port, ssl=context)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])))
