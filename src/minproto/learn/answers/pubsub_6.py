"""Reference answer to pubsub/6: replay without a gap.

``subscribe`` fills the subscriber's list and adds the subscriber in one step. No message can be published between the two, so
the replay and the live messages fit together.
"""

from collections import deque
from typing import Any


class Subscriber:
    """The messages that one subscriber has not received yet."""

    def __init__(self, waiting: list[tuple[Any, Any]]) -> None:
        self.waiting = waiting
        self.open = True

    def take(self) -> list[tuple[Any, Any]]:
        """Return what has not been taken yet."""
        taken, self.waiting = self.waiting, []
        return taken

    def close(self) -> None:
        """Get nothing more."""
        self.open, self.waiting = False, []


class Topic:
    """A topic that keeps its last messages."""

    def __init__(self, history: int) -> None:
        self.newest = 0
        self.log: deque[tuple[int, str]] = deque(maxlen=history)
        self.subscribers: list[Subscriber] = []

    def publish(self, text: str) -> int:
        """Give a message to all subscribers, and return their number."""
        self.newest += 1
        self.log.append((self.newest, text))
        self.subscribers = [each for each in self.subscribers if each.open]
        for each in self.subscribers:
            each.waiting.append((self.newest, text))
        return len(self.subscribers)

    def subscribe(self, after: int | None = None) -> Subscriber:
        """Return a new subscriber. ``after``: the number of the last message that it has; None: it wants no old ones."""
        waiting: list[tuple[Any, Any]] = []
        if after is not None:
            after = after if 0 <= after <= self.newest else 0
            kept = [message for message in self.log if message[0] > after]
            lost = self.newest - after - len(kept)
            waiting = [("gap", lost), *kept] if lost else [*kept]
        subscriber = Subscriber(waiting)
        self.subscribers.append(subscriber)
        return subscriber
