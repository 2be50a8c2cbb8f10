"""``python -m minproto``."""

import sys

from minproto.cli import main

sys.exit(main())
