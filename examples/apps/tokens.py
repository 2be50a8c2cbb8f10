"""Signed tokens: who a client is, without a session that the server has to remember.

A token is ``NAME.SECONDS.SIGNATURE``, for example

    Ada.1794000000.5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef

The name may be used until this second. The signature is an HMAC of both, and only the server has its key. So a client can read
its token, but it can't make one for another name or for a later time. A token can't be taken back before its time, either: an
app that needs this has to remember something after all.

A browser keeps the token in a cookie. A program sends it as ``Authorization: Bearer TOKEN`` (RFC 6750).
"""

import hmac
import re
import time
from secrets import token_bytes

from minproto import Request

DAY = 86_400
KEY = token_bytes(32)
"""A new key at each start ends all tokens. An app in several processes reads its key from a file."""
TOKEN = re.compile(r"(?:token=|Bearer )(([\w-]+)\.(\d{1,12})\.[0-9a-f]{64})", re.ASCII)


def new_token(name: str, seconds: int = DAY) -> str:
    """Return a token for a name of letters, digits, "_" and "-"."""
    return _signed(f"{name}.{int(time.time()) + seconds}")


def name_of(request: Request) -> str | None:
    """Return the name in the request's token; None if there is no valid token."""
    match = TOKEN.search(f"{request.headers.get('authorization')} {request.headers.get('cookie')}")
    if match is None or int(match[3]) < time.time():
        return None
    # ``==`` ends at the first character that differs: a client could measure the time, and guess character by character.
    return match[2] if hmac.compare_digest(match[1], _signed(f"{match[2]}.{match[3]}")) else None


def _signed(text: str) -> str:
    return f"{text}.{hmac.new(KEY, text.encode(), 'sha256').hexdigest()}"
