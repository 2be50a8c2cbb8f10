// A field of an explanation: its bytes at the left, in hexadecimal and as text; what they are at the right.

import { make } from "./common.js";

const BYTES = 8; // in a line of the dump

/** Text with what can't be seen as an escape. */
export const visible = (text) => text.replace(/[\p{Cc}\p{Cf}\p{Co}\u2028\u2029]/gu, (char) =>
  ({ "\r": "\\r", "\n": "\\n", "\t": "\\t" })[char] ?? `\\x${char.codePointAt(0).toString(16).padStart(2, "0")}`);

/** Lines of hexadecimal digits with their text, and how many bytes more there are. */
export function dump(bytes, whole = bytes.length) {
  const lines = [];
  for (let at = 0; at < bytes.length; at += BYTES) {
    const piece = bytes.slice(at, at + BYTES);
    const text = piece.map((byte) => parseInt(byte, 16)).map((code) => (code > 31 && code < 127 ? String.fromCharCode(code) : "·"));
    lines.push(make("span", { className: "line" },
      make("code", { className: "hex", textContent: piece.join(" ") }), make("code", { className: "text", textContent: text.join("") })));
  }
  if (whole > bytes.length) {
    lines.push(make("span", { className: "more", textContent: `and ${(whole - bytes.length).toLocaleString("en")} bytes more` }));
  }
  return make("div", { className: "bytes" }, ...lines);
}

/** `field`: its name, value, meaning, section and bits; `raw`: its bytes as hexadecimal digits, the first ones; `bytes`: all. */
export function showField(field) {
  const bytes = field.raw.match(/../g) ?? [];
  const says = make("div", { className: "says" }, make("b", { textContent: field.name }));
  if (field.value && field.value !== bytes.join(" ")) says.append(" ", make("code", { textContent: visible(field.value) }));
  says.append(make("p", {}, field.meaning, field.section ? make("span", { className: "section", textContent: field.section }) : ""));
  for (const bits of field.bits) {
    says.append(make("p", { className: "bits" }, make("code", { textContent: bits.pattern }), ` ${bits.name}: ${bits.meaning}`));
  }
  const element = make("div", { className: "field" }, dump(bytes, field.bytes), says);
  element.dataset.raw = field.raw;
  element.dataset.name = field.name;
  return element;
}
