"""Words for the learner: events with bytes instead of hexadecimal digits, and where to read a section."""

import re


def in_python(text: str) -> str:
    """Return events, written as JSON, with bytes literals in place of hexadecimal digits."""
    text = re.sub(r'"data": "((?:[0-9a-f]{2})*)"', lambda found: f'"data": {bytes.fromhex(found[1])!r}', text)
    text = re.sub(r"Data\(data=(.*), stream=0\)", r'Data {"data": \1}', text)
    return re.sub(r'"arguments": \[("[0-9a-f", ]*)\]', _arguments, text)


def _arguments(found: re.Match[str]) -> str:
    values = [bytes.fromhex(each) for each in re.findall('"([0-9a-f]*)"', found[1])]
    return f'"arguments": {values!r}'


def address(section: str) -> str:
    """Return where a section can be read, with two blanks in front; "" if it is not a section of a standard on the web."""
    if found := re.match(r"RFC (\d+) §([\d.]+)", section):
        return f"  https://www.rfc-editor.org/rfc/rfc{found[1]}#section-{found[2]}"
    if section.startswith("WHATWG HTML"):
        return "  https://html.spec.whatwg.org/multipage/server-sent-events.html"
    return ""
