"""The pages of ``minproto trap``: the list of all snares, and a page whose script asks for one of them in a browser."""

import html
import json
from collections.abc import Iterable

from minproto.prove.trap.snare import Snare

_PAGE = """<!doctype html><meta charset="utf-8"><title>%s</title>
<p>%s</p>
<pre id="out"></pre>
<script>
const name = %s, out = document.getElementById("out")
const say = text => out.textContent += text + "\\n"
if (name.startsWith("websocket/")) {
  const socket = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/${name}`%s)
  socket.onmessage = event => say(event.data)
  socket.onerror = () => say("error")
  socket.onclose = event => { if (event.code !== 1000) say("an error: closed with " + event.code) }
} else if (name.startsWith("sse/")) {
  const source = new EventSource("/" + name)
  const show = event => say(`${event.type}: ${event.data} (${event.lastEventId})`)
  source.onmessage = show
  source.addEventListener("note", show)
  source.onerror = () => { if (source.readyState === 2 && !out.textContent) say("the connection failed") }
} else
  fetch("/" + name).then(response => response.text()).then(say).catch(error => say("error: " + error))
</script>
<img src="/hold" alt="">
"""


def page(snare: Snare) -> str:
    """Return a page for a browser. An image delays its end, so that ``--dump-dom`` has what the script has shown by then."""
    offered = f", {json.dumps([snare.needs])}" if snare.group == "websocket/subprotocol" and snare.needs else ""
    return _PAGE % (snare.name, html.escape(snare.says), json.dumps(snare.name), offered)


def shown(dom: str) -> str:
    """Return what the script of a page has shown, from the DOM that ``--dump-dom`` prints."""
    return html.unescape(dom.partition('<pre id="out">')[2].partition("</pre>")[0])


def first_page(snares: Iterable[Snare], as_html: bool) -> str:
    """Return the list of all paths: what the server does there, and what is right."""
    if not as_html:
        return "".join([f"/{snare.name}\n    {snare.says}\n    right: {snare.demands}\n" for snare in snares])
    rows = "".join([
        f'<tr><td><a href="/page/{snare.name}">{snare.name}</a><td>{html.escape(snare.says)}<td>{html.escape(snare.demands)}\n'
        for snare in snares
    ])  # fmt: skip
    return f'<!doctype html><meta charset="utf-8"><title>minproto trap</title><table>\n{rows}</table>\n'
