"""A program that uses each public option, rightly, and then wrongly in each line with the comment "error". It is not run: a
test has type checkers read it."""

import asyncio
import math
import ssl
from collections.abc import AsyncIterator

from minproto import (
    AccessLog,
    Answer,
    App,
    Broker,
    BrokerServer,
    ClientConnection,
    ClientResponse,
    Compression,
    ConnectionClosed,
    EventSource,
    EventStream,
    Gap,
    HandshakeRefused,
    Http2Limits,
    Limits,
    LocalProtocolError,
    Message,
    Metrics,
    ProtocolError,
    RemoteBroker,
    RemoteProtocolError,
    RemoteSubscription,
    Request,
    RequestRefused,
    Response,
    Server,
    ServerSentEvent,
    StreamRefused,
    Subscription,
    Timeouts,
    Upgrade,
    WebSocket,
    WebSocketLimits,
    broadcast,
    connect,
    connect_http,
    connect_http2,
    not_allowed,
    reconnecting,
    same_origin,
    serve,
    tls_context,
    upgrade,
)
from minproto.broker import Limits as BrokerLimits
from minproto.sse import Limits as SseLimits

broker = Broker(history=1000)
Broker(history={"a": 5, "b": 0})
Broker(limits=BrokerLimits(), history=0)


async def numbers() -> AsyncIterator[bytes]:
    yield b"1"


async def texts() -> AsyncIterator[str]:
    yield "a"


async def events() -> AsyncIterator[ServerSentEvent]:
    yield ServerSentEvent("data", "price", "7")
    yield ServerSentEvent("data", event="price", id=None)


async def mixed() -> AsyncIterator[ServerSentEvent | str]:
    yield "a"
    yield ServerSentEvent("data")


async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)
        await ws.send("text")
        await ws.send(b"bytes")
        await ws.send(texts())
        await ws.send(numbers())
    code: int | None = ws.close_code
    reason: str = ws.close_reason
    sub: str | None = ws.subprotocol
    print(code, reason, sub, await ws.ping(), ws.ending)
    broadcast([ws], "x")
    broadcast({ws}, b"x")
    await ws.close(1000, "bye")
    ws.abort()


async def app(request: Request) -> Answer:
    match request.method, request.path:
        case "GET", "/ws":
            return upgrade(request, echo)
        case "GET", "/ws2":
            return upgrade(
                request,
                echo,
                subprotocols=["a", "b"],
                allow_origin=lambda request, origin: origin == "https://a",
                compression=Compression(window_bits=10, memory_level=3, context_takeover=False),
                limits=WebSocketLimits(max_message=5, max_fragments=5),
                timeouts=Timeouts(ping=math.inf),
            )
        case "GET", "/ws3":
            return upgrade(request, echo, subprotocols=("a",), allow_origin=same_origin, compression=None)
        case "GET", "/events":
            return EventStream(broker.subscribe("a", after=request.last_event_id), retry=5, keepalive=3, headers=[("a", "b")])
        case "GET", "/e2":
            return EventStream(events(), keepalive=1.5, headers={"a": "b"})
        case "GET", "/e3":
            return EventStream(texts())
        case "GET", "/e4":
            return EventStream(mixed(), retry=None)
        case "POST", "/echo":
            return Response(body=request.body)
        case "POST", "/r":
            return Response(await request.read(), 201, {"a": "b"})
        case "POST", "/r2":
            return Response(await request.read(limit=5), status=201, headers=[("a", "b")])
        case "GET", "/iter":
            return Response(numbers())
        case "GET", "/405":
            return not_allowed("GET", "POST")
        case _:
            pass
    print(request.target, request.query.get("a"), request.headers.get("a"), request.protocol)
    return Response.text("not found", 404)


async def servers() -> None:
    tls = tls_context("cert.pem", "key.pem")
    observer = AccessLog()
    metrics = Metrics()
    async with Server(
        app,
        host="127.0.0.1",
        port=8000,
        ssl=tls,
        limits=Limits(max_body=5, max_head=5),
        http2_limits=Http2Limits(),
        timeouts=Timeouts(head=1, body=2.5),
        max_connections=5,
        metrics=metrics,
        observers=[observer],
        on_drain=lambda: None,
        methods=["GET", "QUERY"],
    ) as server:
        print(server.url)
    await serve(app, port=8000)
    Server(app)
    Server(app, port=0, observers=(observer, metrics))
    BrokerServer(broker, port=0, password="a", max_output=5, host="::1", ssl=None)


async def clients() -> None:
    context = ssl.create_default_context()
    async with connect(
        "ws://a",
        subprotocols=["a"],
        headers=[("cookie", "a=b")],
        ssl=None,
        compression=None,
        limits=WebSocketLimits(),
        timeouts=Timeouts(),
    ) as ws:
        print(await ws.receive())
    ws = await connect("wss://a", ssl=context, headers={"cookie": "a=b"})
    await asyncio.wait_for(connect("ws://a"), 5)
    async with await connect("ws://a") as ws2:
        await ws2.close()
    task: asyncio.Task[WebSocket] = asyncio.create_task(connect("ws://a"))
    print(task)
    await asyncio.gather(connect("ws://a"), connect("ws://b"))
    async for connection in reconnecting(lambda: connect("ws://a"), first=0.5, longest=60, name="a"):
        await connection.send("a")
    async for event in EventSource(
        "http://a", last_event_id="5", headers={"a": "b"}, silence=50, ssl=None, timeouts=Timeouts()
    ):
        print(event.data.upper(), event.event, event.id)
    EventSource("http://a", limits=SseLimits(max_event=5), ssl=None, timeouts=Timeouts())
    async with connect_http("a", 80, ssl=context, limits=Limits(), timeouts=Timeouts()) as http:
        response = await http.request("GET", "/", headers=[("a", "b")])
        print(response.status, response.headers, await response.read())
        response = await http.request("POST", "/", {"a": "b"}, b"x")
        response = await http.request("POST", "/", body=numbers())
        async for piece in response:
            print(piece.decode())
    http = await connect_http("a", 80)
    async with connect_http2("a", 443, ssl=context) as http2:
        print((await http2.request("GET", "/")).status)
    remote = RemoteBroker("redis://a", timeouts=Timeouts(), ssl=None)
    async with remote.subscribe("a", "b") as subscription:
        async for item in subscription:
            match item:
                case Message(topic=topic, id=id, data=data):
                    print(topic, id, data)
                case Gap(count=count):
                    print(count)
    n: int = await remote.publish("a", b"x")
    print(n)
    await remote.close()


async def local() -> None:
    n: int = broker.publish("a", b"x")
    async with broker.subscribe("a", limits=BrokerLimits(), on_overflow="drop_oldest", last=5, after=None) as subscription:
        async for item in subscription:
            if isinstance(item, Gap):
                print(item.count, item.id)
            else:
                print(item.data, n)


def errors() -> None:
    try:
        pass
    except HandshakeRefused as error:
        print(error.response.status, error.response.headers.get("location"), error.response.body, error.code)
    except StreamRefused as error:
        print(error.response.status)
    except ConnectionClosed as error:
        print(error.code, error.reason)
    except (LocalProtocolError, RemoteProtocolError, ProtocolError) as error:
        print(error.code)
    except RequestRefused as error:
        print(error)


Timeouts(
    handshake=1,
    head=1,
    body=1,
    min_body_rate=1,
    idle=1,
    write=1,
    ping=1,
    pong=1,
    close=1,
    last_words=1,
    linger=1,
    read_away=1,
    drain=1,
)
handler: App = app
asyncio.run(serve(app, port=8000))
x: "ClientConnection | ClientResponse | RemoteSubscription | Subscription | Upgrade | None" = None
print(x)


async def plain(request: Request) -> Response:
    return Response(b"")


async def numbers_only() -> AsyncIterator[int]:
    yield 5


async def wrong(request: Request) -> None:
    Server(app, prot=8000)  # error
    Server(app, port="8000")  # error
    Server(app, limits=WebSocketLimits())  # error
    Server(app, limits={"max_body": 1})  # error
    Server(app, ssl=("cert", "key"))  # error
    Server(app, timeouts=5)  # error
    Server(5)  # error
    Server(echo)  # error
    serve(app, tls=None)  # error
    await serve(app, prot=1)  # error
    BrokerServer(Broker(), password=b"")  # error
    BrokerServer(app)  # error
    BrokerServer(Broker(), http2_limits=Http2Limits())  # error
    Broker(history="5")  # error
    Timeouts(idle=None)  # error
    Timeouts(idel=5)  # error
    Limits(max_bdy=5)  # error
    connect("ws://a", heders=[])  # error
    connect("ws://a", headers=5)  # error
    connect("ws://a", headers=["a: b"])  # error
    connect("ws://a", timeouts=5)  # error
    connect(b"ws://a")  # error
    connect("ws://a", limits=Limits())  # error
    connect_http("a", "80")  # error
    connect_http("a", 80, limit=Limits())  # error
    connect_http2("a", 80, limits=Limits())  # error
    EventSource("http://a", last_event_id=5)  # error
    EventSource("http://a", silense=5)  # error
    EventStream(["a"])  # error
    EventStream(numbers_only())  # error
    EventStream(events=5)  # error
    EventStream(Broker().subscribe("a"), retry=1.5)  # error
    EventStream(Broker().subscribe("a"), keep_alive=5)  # error
    EventStream(RemoteBroker().subscribe("a"))  # error
    Response(5)  # error
    Response(b"", "404")  # error
    Response(b"", headers=["a"])  # error
    Response("text")  # error
    upgrade(request, echo, subprotocol=["a"])  # error
    upgrade(request, plain)  # error
    upgrade(request, echo, compression=True)  # error
    upgrade(request, echo, timeouts=5)  # error
    upgrade(request, echo, allow_origin=True)  # error
    RemoteBroker(5)  # error
    RemoteBroker("redis://a", timeout=5)  # error
    Broker().subscribe("a", overflow="drop")  # error
    Broker().subscribe("a", on_overflow="drop")  # error
    Broker().subscribe(["a"])  # error
    Broker().publish(b"a", b"b")  # error
    broadcast("a", "b")  # error
    ServerSentEvent(b"x")  # error
    ServerSentEvent("x", id=5)  # error
    ServerSentEvent("x", kind="5")  # error
    reconnecting(lambda: connect("ws://a"), delay=5)  # error
    reconnecting(5)  # error
    Compression(bits=5)  # error
    Server(app, observers=AccessLog())  # error
    Server(app, observers=[print])  # error
    Server(app, on_drain="x")  # error
    tls_context(5)  # error
    async with connect("ws://a") as ws:
        await ws.send(5)  # error
        await ws.close("1000")  # error
    async with connect_http("a", 80) as http:
        await http.request("GET", "/", header={})  # error
        await http.request(5, "/")  # error
    not_allowed(["GET"])  # error
    Response.text(b"x")  # error
    await request.read("5")  # error
