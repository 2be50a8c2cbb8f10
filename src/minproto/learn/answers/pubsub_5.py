"""Reference answer to pubsub/5: a subscription that drops messages, and reports how many."""

from collections import deque
from typing import Any


class Subscription:
    """The messages that wait for one subscriber."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.messages: deque[Any] = deque()
        self.dropped = 0
        self.told = 0  # how many of the dropped messages ``take`` has reported

    @property
    def pending(self) -> int:
        """The number of messages that are held."""
        return len(self.messages)

    def put(self, message: Any) -> bool:
        """Store a message. Return whether nothing was held before."""
        was_empty = not self.messages
        if len(self.messages) == self.size:
            self.messages.popleft()
            self.dropped += 1
        self.messages.append(message)
        return was_empty

    def take(self, most: int) -> tuple[int, list[Any]]:
        """Return how many messages were dropped since the last take, and up to ``most`` messages."""
        lost, self.told = self.dropped - self.told, self.dropped
        return lost, [self.messages.popleft() for _ in range(min(most, len(self.messages)))]
