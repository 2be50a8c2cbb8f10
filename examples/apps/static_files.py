"""Static files: one folder, with everything that browsers and download managers ask of a server of files.

    python examples/apps/static_files.py docs                              # any folder; a port may follow

    curl -i http://127.0.0.1:8000/apps.md                                  # ETag, Last-Modified, Cache-Control
    curl -r 0-99 http://127.0.0.1:8000/apps.md                             # 206: the first 100 bytes
    curl --etag-save e --etag-compare e -O http://127.0.0.1:8000/apps.md   # the second time: 304, without content
    curl -C - -O http://127.0.0.1:8000/lab.jpg                             # goes on with a download that was cut off
    curl --path-as-is http://127.0.0.1:8000/../README.md                   # 404: nothing outside the folder

``conditions.py``, beside this file, says what a client gets that has the file already, or a part of it.

Reading from a disk blocks. So each step on a file runs in a thread: a slow disk delays this client and no other. A file of any
size takes 256 KiB of memory, since the server asks for the next piece when the client has taken most of the previous ones.
"""

import asyncio
import mimetypes
import os
import re
import sys
import time
from collections.abc import AsyncIterator
from io import BufferedReader
from pathlib import Path
from urllib.parse import quote

from conditions import conditional

from minproto import App, Request, Response, not_allowed, serve

CHUNK = 256 * 1024
HASHED = re.compile(r"\.[0-9a-f]{8,}\.")
"""A name such as ``app.3f9a1c2b.js``: new content gets a new name, so a browser never has to ask for it again."""


def static_files(folder: Path) -> App:
    root = folder.resolve(strict=True)

    async def app(request: Request) -> Response:
        if request.method != "GET":  # HEAD appears as GET
            return not_allowed("GET", "HEAD")
        file = await asyncio.to_thread(find, root, request.path)
        if file is None:
            return Response.text("not found\n", 404)
        if isinstance(file, Path):  # a folder: the relative links in its index.html need a URL that ends with a slash
            return Response(status=308, headers={"location": f"./{quote(file.name)}/"})
        info = os.fstat(file.fileno())  # of the open file: another one may take its name at any time
        etag = f'"{info.st_ctime_ns:x}-{info.st_size:x}"'  # a copy may get an old mtime, but no old ctime
        modified = min(info.st_mtime, time.time()) // 1  # RFC 9110 §8.8.2.1: never in the future
        status, headers, part = conditional(request, etag, modified, info.st_size)
        headers |= describe(str(file.name))
        if not part:
            file.close()
        return Response(pieces(file, part) if part else b"", status, headers)

    return app


def find(root: Path, path: str) -> BufferedReader | Path | None:
    """Open a file below ``root``; return a folder with an index.html. The path is decoded: "%2e%2e%2f" is "../" by now."""
    if "/." in path:  # ".." leads out of the folder, and .env or .git are there for nobody to see
        return None
    try:
        found = (root / path.lstrip("/") / ("index.html" if path.endswith("/") else "")).resolve(strict=True)
        if not found.is_relative_to(root):  # ``resolve`` has followed the symbolic links
            return None
        if found.is_file():  # and not a named pipe: opening it could take for ever
            return found.open("rb")
        return found if (found / "index.html").is_file() else None
    except (OSError, ValueError, RuntimeError):  # no such file, or not for us to read; a NUL; links in a circle
        return None


def describe(name: str) -> dict[str, str]:
    kind, coding = mimetypes.guess_type(name)
    return {
        "content-type": "application/octet-stream" if kind is None or coding else kind + "; charset=utf-8" * ("text/" in kind),
        "x-content-type-options": "nosniff",
        "cache-control": "public, max-age=31536000, immutable" if HASHED.search(name) else "no-cache",
    }


async def pieces(file: BufferedReader, part: range) -> AsyncIterator[bytes]:
    with file:
        for start in range(part.start, part.stop, CHUNK):
            yield await asyncio.to_thread(os.pread, file.fileno(), min(CHUNK, part.stop - start), start)


if __name__ == "__main__":
    asyncio.run(serve(static_files(Path(sys.argv[1])), port=int(sys.argv[2]) if sys.argv[2:] else 8000))
