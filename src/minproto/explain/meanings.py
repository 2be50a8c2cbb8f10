"""The meanings of HTTP's methods, status codes and fields, in a few words each, with the section of the standard.

Left out: rare fields that this package does not read or send. They are explained as OTHER_FIELD.
"""

METHODS = {
    "GET": ("send the resource", "RFC 9110 §9.3.1"),
    "HEAD": ("like GET, without the content", "RFC 9110 §9.3.2"),
    "POST": ("let the resource process the content", "RFC 9110 §9.3.3"),
    "PUT": ("store the content as this resource", "RFC 9110 §9.3.4"),
    "DELETE": ("remove the resource", "RFC 9110 §9.3.5"),
    "CONNECT": ("open a tunnel to this host and port", "RFC 9110 §9.3.6"),
    "OPTIONS": ("say which methods are possible here", "RFC 9110 §9.3.7"),
    "TRACE": ("send this request back", "RFC 9110 §9.3.8"),
    "PATCH": ("change the resource as the content says", "RFC 5789 §2"),
}
OTHER_METHOD = ("a method that RFC 9110 does not define", "RFC 9110 §9.1")

STATUS_CLASSES = {
    1: ("interim: the response is still to come", "RFC 9110 §15.2"),
    2: ("success", "RFC 9110 §15.3"),
    3: ("the client has to do more: look elsewhere, or in its cache", "RFC 9110 §15.4"),
    4: ("the client's mistake", "RFC 9110 §15.5"),
    5: ("the server's failure", "RFC 9110 §15.6"),
}
STATUS = {
    101: ("the connection changes to the other protocol", "RFC 9110 §15.2.2"),
    204: ("success, without content", "RFC 9110 §15.3.5"),
    304: ("the client's copy is still good, so there is no content", "RFC 9110 §15.4.5"),
}
OTHER_STATUS = ("a status of no class that RFC 9110 defines", "RFC 9110 §15")

FIELDS = {
    ":method": ("the method", "RFC 9113 §8.3.1"),
    ":scheme": ("http or https", "RFC 9113 §8.3.1"),
    ":authority": ("host and port of the target, in the place of Host", "RFC 9113 §8.3.1"),
    ":path": ("path and query of the target", "RFC 9113 §8.3.1"),
    ":status": ("the status code", "RFC 9113 §8.3.2"),
    ":protocol": ("the protocol that the tunnel is for", "RFC 8441 §4"),
    "accept": ("media types that the client accepts", "RFC 9110 §12.5.1"),
    "accept-encoding": ("compressions that the client can undo", "RFC 9110 §12.5.3"),
    "accept-language": ("languages that the client wants", "RFC 9110 §12.5.4"),
    "accept-ranges": ("whether the client may ask for a part of the resource", "RFC 9110 §14.3"),
    "allow": ("methods that the resource supports", "RFC 9110 §10.2.1"),
    "authorization": ("who the user is, with a proof", "RFC 9110 §11.6.2"),
    "cache-control": ("how caches may store this message", "RFC 9111 §5.2"),
    "connection": ("fields that are for this connection only", "RFC 9110 §7.6.1"),
    "content-encoding": ("how the content is compressed", "RFC 9110 §8.4"),
    "content-length": ("bytes of content: where the message ends", "RFC 9110 §8.6"),
    "content-type": ("the media type of the content", "RFC 9110 §8.3"),
    "cookie": ("data that the server has asked the client to send back", "RFC 6265 §5.4"),
    "date": ("when the message was made", "RFC 9110 §6.6.1"),
    "etag": ("the version of the resource", "RFC 9110 §8.8.3"),
    "expect": ("the client waits for 100 before it sends content", "RFC 9110 §10.1.1"),
    "host": ("host and port of the target: one address can have many", "RFC 9110 §7.2"),
    "keep-alive": ("how long the connection may be idle", "RFC 2068 §19.7.1"),
    "last-event-id": ("the last event that the client has received", "WHATWG HTML §9.2.4"),
    "last-modified": ("when the resource changed last", "RFC 9110 §8.8.2"),
    "location": ("where the resource is", "RFC 9110 §10.2.2"),
    "origin": ("the site whose script sends the request", "RFC 6454 §7"),
    "pragma": ("a cache directive of HTTP/1.0", "RFC 9111 §5.4"),
    "priority": ("how urgent the response is", "RFC 9218 §5"),
    "referer": ("the page with the link that was followed", "RFC 9110 §10.1.3"),
    "sec-websocket-accept": ("shows that the server has understood the key", "RFC 6455 §4.2.2"),
    "sec-websocket-extensions": ("extensions that are offered, or chosen", "RFC 6455 §9.1"),
    "sec-websocket-key": ("16 random bytes, from which the server makes its answer", "RFC 6455 §4.1"),
    "sec-websocket-protocol": ("subprotocols that are offered, or the chosen one", "RFC 6455 §1.9"),
    "sec-websocket-version": ("13 is the only version in use", "RFC 6455 §4.1"),
    "server": ("the server's program", "RFC 9110 §10.2.4"),
    "set-cookie": ("data for the client to send back with its next requests", "RFC 6265 §4.1"),
    "te": ("whether the client accepts trailers", "RFC 9110 §10.1.4"),
    "trailer": ("names of fields that will follow the content", "RFC 9110 §6.6.2"),
    "transfer-encoding": ("chunked: the content comes in pieces, each with its length", "RFC 9112 §6.1"),
    "upgrade": ("another protocol for this connection", "RFC 9110 §7.8"),
    "upgrade-insecure-requests": ("the browser prefers to be redirected to https", "Upgrade Insecure Requests §3.2.1"),
    "user-agent": ("the client's program", "RFC 9110 §10.1.5"),
    "vary": ("request fields on which the response depends", "RFC 9110 §12.5.5"),
    "www-authenticate": ("how the client can authenticate", "RFC 9110 §11.6.1"),
}
OTHER_FIELD = ("a field of the app, or of another standard", "RFC 9110 §5.1")


def of_status(status: int) -> tuple[str, str]:
    """Return the meaning of a status code, and its section."""
    return STATUS.get(status) or STATUS_CLASSES.get(status // 100, OTHER_STATUS)
