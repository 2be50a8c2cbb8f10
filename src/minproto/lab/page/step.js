// One step of the stepper: what arrived, the event, the state, the error with its sentences, and the fields of the bytes.

import { make } from "./common.js";
import { dump, showField, visible } from "./fields.js";
import { hexOf, toText } from "./escapes.js";

const MOST_BYTES = 256; // of a field
const count = (number, unit) => `${number.toLocaleString("en")} ${unit}${number === 1 ? "" : "s"}`;

/** What arrives at the beginning of a step, in a few words. */
export function arrivalOf(step) {
  if (step.arrived.eof) return "the end of input";
  if (!step.arrived.data) return "";
  const [from, to] = step.arrived.data;
  return count(to - from, "byte");
}

/** What came of a step, in a few words. */
export function outcomeOf(step) {
  if (step.error) return `error: ${step.error.text}`;
  return step.event ? step.event.type : `no event, wants ${step.wants}`;
}

/** The elements of a step. `rows` and `bytes` are those of the whole stream; `onPoint` is told the ends of a field. */
export function showStep(step, rows, bytes, onPoint) {
  const arrival = arrivalOf(step);
  const before = arrival ? `${arrival} ${step.arrived.eof || arrival === "1 byte" ? "arrives" : "arrive"}; ` : "";
  return [
    make("h3", { textContent: `${before}next_event() ${step.error ? "raises" : "returns"}` }),
    step.error ? showError(step) : showEvent(step.event),
    ...(step.entries.length || step.error ? showEntries(step) : []),
    showState(step),
    ...(step.sent.bytes ? showSent(step.sent, step.error ? "The core says farewell" : "The owner answers") : []),
    ...showFields(step, rows, bytes, onPoint),
  ];
}

function showEvent(event) {
  if (!event) return make("p", { className: "event none" }, make("code", { textContent: "None" }), " there is no event yet");
  const list = make("dl");
  for (const [name, value] of event.fields) {
    list.append(make("div", {}, make("dt", { textContent: name }), make("dd", {}, make("code", { textContent: value }))));
  }
  return make("div", { className: "event" }, make("code", { textContent: event.type }), list);
}

function showError(step) {
  const words = step.error.code ? `${step.error.text} (${step.error.code})` : step.error.text;
  return make("p", { className: "notice wrong", id: "apart-error" }, make("b", { textContent: "RemoteProtocolError" }), ` ${words}`);
}

/** The sentences of the ledger that wrong examples with this fault break. */
function showEntries(step) {
  if (!step.entries.length) {
    return [make("p", { className: "hint", textContent: "No wrong example of the ledger leads to this error." })];
  }
  const list = make("ul", { className: "entries" });
  for (const entry of step.entries) {
    const link = make("a", { href: `/lab/requirements/${entry.page}#:~:text=${encodeURIComponent(`### ${entry.id}`)}`, target: "_blank" }, entry.id);
    list.append(make("li", {}, make("p", {}, make("b", { textContent: entry.level }), ` ${entry.says}`),
      make("p", { className: "hint" }, `If not: ${entry.why} `, make("span", { className: "section", textContent: entry.section }), " ", link)));
  }
  const words = step.entries.length === 1 ? "The sentence of the ledger whose wrong example leads to this fault" : "Sentences of the ledger whose wrong examples lead to this fault";
  return [make("h4", { textContent: words }), list];
}

function showState(step) {
  const list = make("dl", { className: "figures" });
  const figures = [["wants", step.wants], ["buffered", step.buffered.toLocaleString("en")], ...step.state];
  for (const [name, value] of figures) {
    const row = list.appendChild(make("div", {}, make("dt", { textContent: name }), make("dd", { textContent: value })));
    row.dataset.name = name;
  }
  return list;
}

function showSent(sent, words) {
  const bytes = Uint8Array.from(sent.hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
  const isText = bytes.every((byte) => byte > 31 || byte === 13 || byte === 10 || byte === 9);
  const shown = isText ? make("pre", { textContent: toText(bytes) }) : dump(hexOf(bytes), sent.bytes);
  return [make("h4", { textContent: `${words}: ${count(sent.bytes, "byte")}` }), shown];
}

function showFields(step, rows, bytes, onPoint) {
  const [from, to] = step.parsed;
  const isEmpty = from === to;
  const isIn = (field) => (isEmpty ? field.from <= to && to < field.to : field.from < to && field.to > from);
  const found = rows.map((row) => ({ ...row, fields: row.fields.filter((field) => isIn(field) || isNote(field, from, to)) }));
  const full = found.filter((row) => row.fields.length);
  const waits = step.buffered ? "The core waits inside of" : "Next would come";
  const words = isEmpty ? waits : `Parsed: ${count(to - from, "byte")}`;
  if (!full.length) return isEmpty ? [] : [make("h4", { textContent: words })];
  const parts = [make("h4", { textContent: words })];
  for (const row of full) {
    const title = row.stream ? `${row.title}, stream ${row.stream}` : row.title;
    parts.push(make("p", { className: "hint row" }, `${row.protocol}: ${visible(title)}`));
    for (const field of row.fields) parts.push(fieldOf(field, bytes, onPoint));
  }
  return [...parts];
}

/** A field without bytes tells about the bytes in front of it. */
const isNote = (field, from, to) => field.from === field.to && field.from > from && field.from <= to;

function fieldOf(field, bytes, onPoint) {
  const raw = hexOf(bytes.subarray(field.from, Math.min(field.to, field.from + MOST_BYTES))).join("");
  const element = showField({ ...field, raw, bytes: field.to - field.from });
  element.onpointerenter = () => onPoint([field.from, field.to]);
  element.onpointerleave = () => onPoint([0, 0]);
  return element;
}
