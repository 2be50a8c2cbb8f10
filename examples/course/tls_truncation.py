"""An attacker who can only cut the connection: without close_notify, half of a response looks complete."""

import asyncio
import ssl

import trustme

from minproto import connect_http

HALF = b"HTTP/1.1 200 OK\r\n\r\npay 100 euros to Ada"  # ", and 900 to Bob". There is no length: the stream's end is the end
authority = trustme.CA()
for_server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
authority.issue_cert("127.0.0.1").configure_cert(for_server)
for_client = ssl.create_default_context()
authority.configure_trust(for_client)
cut = False


async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(HALF)
    if cut:
        writer.transport.abort()  # ends TCP below TLS, as anybody on the network path could do
    else:
        writer.close()  # sends close_notify, and then ends TCP


async def with_asyncio(port: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=for_client)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return f"{answer[19:]!r}, and then an end"


async def with_minproto(port: int) -> str:
    client = await connect_http("127.0.0.1", port, ssl=for_client)
    content = b""
    try:
        async for piece in await client.request("GET", "/"):
            content += piece
    except ConnectionError as error:
        return f"{content!r}, and then {type(error).__name__}: {error.__cause__ or error}"
    finally:
        await client.close()
    return f"{content!r}, and then an end"


async def main() -> None:
    global cut
    server = await asyncio.start_server(respond, "127.0.0.1", 0, ssl=for_server)
    for cut in False, True:
        print("cut off by an attacker:" if cut else "ended by the server:")
        for ask in with_asyncio, with_minproto:
            print(f"  {ask.__name__}:", await ask(server.sockets[0].getsockname()[1]))
    server.close()


asyncio.run(main())
