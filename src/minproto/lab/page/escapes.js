// Bytes as text, and text as bytes. What can't be seen is an escape: \r, \n, \t, \\ and \xNN. Text is UTF-8; a byte that is not
// UTF-8 is an escape, too, so each stream has a text, and the text gives the same bytes again.
//
//     47 45 54 0d 0a c3 bc ff   <-->   GET\r\n
//                                      ü\xff
//
// A line break behind \n is only for the eye. Any other line break, which somebody has typed or pasted, means the protocol's.

const UNSEEN = /[\p{C}\p{Zl}\p{Zp}]/u;
const NAMED = { 0x09: "\\t", 0x0a: "\\n", 0x0d: "\\r", 0x5c: "\\\\" };
const VALUES = { t: 0x09, n: 0x0a, r: 0x0d, "\\": 0x5c };

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

export const hexOf = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0"));

/** The bytes of hexadecimal digits, between which there may be blanks. Throws an Error that says what is wrong. */
export function fromHex(text) {
  const digits = text.replace(/\s+/g, "");
  const wrong = digits.match(/[^0-9a-f]/iu);
  if (wrong) throw new Error(`“${wrong[0]}” is not a hexadecimal digit`);
  if (digits.length % 2) throw new Error("a byte has two hexadecimal digits, and the last one has one");
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

/** One character and the number of its bytes; an escape for a byte that can't be seen. */
function characterAt(bytes, at) {
  const first = bytes[at];
  if (NAMED[first]) return [NAMED[first], 1];
  const length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  try {
    const character = decoder.decode(bytes.subarray(at, at + length));
    if (!UNSEEN.test(character)) return [character, length];
  } catch {
    // not UTF-8
  }
  return [`\\x${hexOf([first])}`, 1];
}

export function toText(bytes) {
  const parts = [];
  for (let at = 0; at < bytes.length; ) {
    const [part, length] = characterAt(bytes, at);
    at += length;
    parts.push(part === "\\n" && at < bytes.length ? "\\n\n" : part);
  }
  return parts.join("");
}

/** The bytes of a text. `lineBreak` is what a typed line break means. Throws an Error for an escape that there is not. */
export function fromText(text, lineBreak) {
  const plain = text.replace(/\r\n?/g, "\n").replace(/\\n\n/g, "\\n").replaceAll("\n", lineBreak);
  const bytes = [];
  for (const [part, escape] of plain.matchAll(/\\(x[0-9a-fA-F]{2}|.|$)|[^\\]+/gsu)) {
    if (escape === undefined) for (const byte of encoder.encode(part)) bytes.push(byte);
    else if (escape[0] === "x" && escape.length === 3) bytes.push(parseInt(escape.slice(1), 16));
    else if (escape in VALUES) bytes.push(VALUES[escape]);
    else throw new Error(`“\\${escape}” is not an escape: there are \\r, \\n, \\t, \\\\ and \\xNN`);
  }
  return Uint8Array.from(bytes);
}
