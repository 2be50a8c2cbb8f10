"""pubsub/5: a subscription that drops messages, and reports how many. Fill in what is missing."""

from typing import Any


class Subscription:
    """The messages that wait for one subscriber."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.pending = 0
        self.dropped = 0

    def put(self, message: Any) -> bool:
        """Store a message. Return whether nothing was held before."""
        raise NotImplementedError

    def take(self, most: int) -> tuple[int, list[Any]]:
        """Return how many messages were dropped since the last take, and up to ``most`` messages."""
        raise NotImplementedError
