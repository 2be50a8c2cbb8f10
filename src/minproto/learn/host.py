"""The process in which the learner's Python file runs: ``python -m minproto.learn.host FILE NAME KIND LIMIT``.

It reads lines of JSON and answers each with a line, as any program under the laws does (``docs/laws.md``). Whatever the
learner's code prints goes to standard error, and its standard input is empty, so that neither disturbs the conversation. If a
file cannot be loaded, the first answer says so: ``{"cannot": "my_parser.py is not Python: ..."}``.
"""

import faulthandler
import json
import os
import sys
from pathlib import Path

from minproto.learn.session import CannotLoadError, Session, load, read


def main(file: str, asks: str, kind: str, takes_limit: str, patience: str) -> None:
    """Answer lines until the input ends. ``patience``: after this many seconds, a call that has not returned shows its
    stack."""
    reading, writing = os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    sys.path.insert(0, str(Path(file).resolve().parent))
    session: Session | str
    try:
        session = Session(load(read(file), file), asks, kind, takes_limit == "limit")
    except CannotLoadError as error:
        session = str(error)
    for line in reading:
        if isinstance(session, str):
            answer = {"cannot": session}
        else:
            faulthandler.dump_traceback_later(float(patience))
            answer = session.answer(json.loads(line))
            faulthandler.cancel_dump_traceback_later()
        writing.write(json.dumps(answer) + "\n")
        writing.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
