"""Forms: a short one, and one with files of any size, which go to the disk while they arrive.

    pip install multipart
    python examples/apps/upload_form.py /tmp                               # where the files go; a port may follow

    curl -d 'name=Ada+L.' http://127.0.0.1:8000/                           # application/x-www-form-urlencoded
    curl -F name=Ada -F file=@README.md http://127.0.0.1:8000/             # multipart/form-data
    truncate -s 200M big; curl -F file=@big http://127.0.0.1:8000/         # 413, before a byte of the file is sent
    curl -H 'Origin: http://evil.example' -d '' http://127.0.0.1:8000/     # 403: the page of another site may not post here

A browser shows the form at ``/``. The content of a form with files is a sequence of parts between lines with a *boundary*:

    --AaB03x
    Content-Disposition: form-data; name="file"; filename="a.txt"

    content of a.txt
    --AaB03x--

The library multipart has a parser that does no I/O: it takes pieces of content, and gives one object for the head of a part,
bytes for its content, and None for its end. So only the piece that has arrived is in memory, and a slow disk slows the client
down, not the server.

Whatever a client chooses has a limit: the whole (``Limits.max_body``), the fields, the number of parts. The name of a file is
the client's word, and may be ``../../etc/passwd``. So the app returns it, and gives the file a name of its own. The files of
an upload that breaks off are removed.
"""

import asyncio
import sys
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import parse_qsl

from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser, parse_options_header

from minproto import App, Limits, Request, Response, not_allowed, same_origin, serve

MAX_FIELDS, MAX_PARTS = 64 << 10, 20
LIMITS = Limits(max_body=100 << 20)
PAGE = """<!doctype html><meta charset=utf-8><title>Upload</title><form method=post enctype=multipart/form-data>
<input name=name><input name=file type=file multiple><button>Send</button></form>"""


def upload_form(folder: Path) -> App:
    async def app(request: Request) -> Response:
        if request.method == "GET":
            return Response.html(PAGE)
        if request.method != "POST":
            return not_allowed("GET", "HEAD", "POST")
        if (origin := request.headers.get("origin")) is not None and not same_origin(request, origin):
            return Response.text("a page of another site may not post here\n", 403)
        kind, options = parse_options_header(request.headers.get("content-type", ""))
        if kind == "application/x-www-form-urlencoded":
            text = (await request.read(MAX_FIELDS)).decode("utf-8", "replace")
            return Response.json({"fields": dict(parse_qsl(text, keep_blank_values=True)), "files": []})
        if kind != "multipart/form-data":
            return Response.text("this is no form\n", 415)
        try:
            with TemporaryDirectory(dir=folder, prefix=".") as unfinished:
                parser = PushMultipartParser(options.get("boundary", ""), max_segment_count=MAX_PARTS)
                form = await store(request, parser, Path(unfinished))
                for file in form["files"]:
                    Path(unfinished, file["stored"]).rename(folder / file["stored"])  # noqa: ASYNC240 - quick
        except MultipartError as error:
            return Response.text(f"the form can't be read: {error}\n", 413 if isinstance(error, ParserLimitReached) else 400)
        return Response.json(form, 201)

    return app


async def store(request: Request, parser: PushMultipartParser, folder: Path) -> dict[str, Any]:
    """Return the fields, and what is known of the files, which are in the folder by then."""
    form: dict[str, Any] = {"fields": {}, "files": []}
    room = MAX_FIELDS
    async for event in parser.parse_async(lambda size: request.receive()):
        if isinstance(event, MultipartSegment):
            part, value, path = event, b"", folder / token_hex(8)
        elif part.filename is None:
            value += event or b""
            if len(value) > room:
                raise ParserLimitReached("the fields are too long")
            if event is None:
                room -= len(value)
                form["fields"][part.name] = value.decode("utf-8", "replace")
        elif part.filename:  # "": the user has chosen no file
            await asyncio.to_thread(append, path, event or b"")
            if event is None:
                form["files"].append({"name": part.filename, "size": part.size, "stored": path.name})
    return form


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


if __name__ == "__main__":
    asyncio.run(serve(upload_form(Path(sys.argv[1])), port=int(sys.argv[2]) if sys.argv[2:] else 8000, limits=LIMITS))
