"""The entry point of ``python -m minproto`` and of the command ``minproto``."""

import signal
import sys


def main() -> int:
    """Run the command line, and return its exit status.

    ``minproto.cli`` takes a while to import, and a user may press Ctrl-C meanwhile. Python's own handler would print a
    traceback from the middle of an import. So the system's default handler is used: it ends the process without any output.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from minproto import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
