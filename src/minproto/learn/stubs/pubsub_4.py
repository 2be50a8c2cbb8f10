"""pubsub/4: a glob matcher. Fill in what is missing."""


def matches(pattern: str, topic: str) -> bool:
    """Return whether the pattern matches the whole topic."""
    raise NotImplementedError
