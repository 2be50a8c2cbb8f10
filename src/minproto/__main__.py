"""``python -m minproto``, and the command ``minproto``."""

import signal
import sys


def main() -> int:
    """Run the command line, and return its exit status. Ctrl-C while Python still loads it ends the process without a word;
    Python's own handler would print a traceback of half an import."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from minproto import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
