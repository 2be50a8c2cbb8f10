"""Hypothesis looks for an input that breaks a property, and then for the smallest one."""

from hypothesis import find, settings
from hypothesis import strategies as st


def encode(text: str) -> bytes:
    """A length, a colon, the text: 5:hello"""
    return b"%d:" % len(text) + text.encode()


def decode(data: bytes) -> str:
    length, _, rest = data.partition(b":")
    return rest[: int(length)].decode(errors="replace")


for text in "", "hello", "a:b", "x" * 1000:
    assert decode(encode(text)) == text
print("four examples pass")

steady = settings(derandomize=True, database=None)  # the same search each time
text = find(st.text(), lambda text: decode(encode(text)) != text, settings=steady)
print(f"smallest text that does not come back: {text!r}, encoded {encode(text)}, decoded {decode(encode(text))!r}")
