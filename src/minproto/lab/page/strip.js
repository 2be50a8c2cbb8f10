// The strip of bytes: each with its character and its digits. A click between two bytes makes a cut, or takes one away.
//
// It is one stop of the Tab key. Arrows go from byte to byte; Enter or Space cuts in front of the byte. Of a long stream, only
// some hundred bytes are drawn: those around the byte that is looked at.

import { make } from "./common.js";

const SHOWN = 512;
const NAMES = { 0x0a: "\\n", 0x0d: "\\r", 0x09: "\\t", 0x20: "␣" };

export class Strip {
  #bytes = new Uint8Array();
  #cuts = new Set();
  #marks = { parsed: [0, 0], arrived: 0 };
  #first = 0; // the first byte that is drawn
  #at = 1; // the place of the keyboard

  /** `onCut(position)`: a cut is wanted there, or no longer. */
  constructor(element, onCut) {
    this.element = element;
    this.onCut = onCut;
    element.onclick = (event) => {
      const gap = event.target.closest("button.gap");
      if (gap) this.#toggle(Number(gap.dataset.at));
    };
    element.onkeydown = (event) => this.#onKey(event);
  }

  show(bytes, cuts) {
    this.#bytes = bytes;
    this.#cuts = new Set(cuts);
    this.#at = Math.min(Math.max(this.#at, 1), Math.max(bytes.length - 1, 1));
    this.#draw();
  }

  /** What a step has done: `parsed` are the ends of the bytes that it parsed, `arrived` is the number that has arrived. */
  mark(parsed, arrived) {
    this.#marks = { parsed, arrived };
    const middle = parsed[0];
    if (middle < this.#first || middle >= this.#first + SHOWN) {
      this.#first = Math.max(0, Math.floor(middle / SHOWN) * SHOWN);
      this.#draw();
    } else this.#colour();
  }

  /** The bytes of a field that is pointed at; none: [0, 0]. */
  point([from, to]) {
    for (const cell of this.#cells()) cell.classList.toggle("hot", cell.at >= from && cell.at < to);
  }

  #cells() {
    return this.element.querySelectorAll(".byte");
  }

  #draw() {
    const last = Math.min(this.#bytes.length, this.#first + SHOWN);
    const parts = [];
    if (this.#first) parts.push(this.#note(`${this.#first.toLocaleString("en")} bytes before`));
    for (let at = this.#first; at < last; at += 1) {
      const byte = this.#bytes[at];
      parts.push(at ? this.#gap(at) : make("span", { className: "gap" }));
      const cell = make("span", { className: "byte" }, make("b", { textContent: nameOf(byte) }),
        make("i", { textContent: byte.toString(16).padStart(2, "0") }));
      cell.at = at;
      parts.push(cell);
      if (byte === 0x0a) parts.push(make("span", { className: "break" }));
    }
    if (last < this.#bytes.length) parts.push(this.#note(`${(this.#bytes.length - last).toLocaleString("en")} bytes more`));
    this.element.replaceChildren(...parts);
    this.#colour();
  }

  #note(text) {
    return make("span", { className: "hint", textContent: text });
  }

  #gap(at) {
    const gap = make("button", { className: "gap", type: "button" });
    gap.dataset.at = at;
    gap.ariaLabel = `cut before byte ${at}`;
    gap.ariaPressed = this.#cuts.has(at);
    gap.tabIndex = at === this.#at || (at === this.#first + 1 && !this.#isDrawn(this.#at)) ? 0 : -1;
    return gap;
  }

  #isDrawn(at) {
    return at > this.#first && at < this.#first + SHOWN;
  }

  #colour() {
    const { parsed: [from, to], arrived } = this.#marks;
    for (const cell of this.#cells()) {
      const { at } = cell;
      cell.dataset.kind = at < from ? "done" : at < to ? "parsed" : at < arrived ? "held" : "later";
    }
    const now = this.element.querySelector("[data-kind=parsed]") ?? this.element.querySelector("[data-kind=held]");
    if (now) this.element.scrollTop = now.offsetTop - this.element.clientHeight / 2;
  }

  #toggle(at) {
    this.#at = at;
    this.onCut(at);
    this.element.querySelector(`.gap[data-at="${at}"]`)?.focus();
  }

  #onKey(event) {
    const gap = event.target.closest("button.gap");
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
    if (!gap || !step) return;
    event.preventDefault();
    const gaps = [...this.element.querySelectorAll("button.gap")];
    const there = gaps[Math.min(Math.max(gaps.indexOf(gap) + step, 0), gaps.length - 1)];
    gap.tabIndex = -1;
    there.tabIndex = 0;
    this.#at = Number(there.dataset.at);
    there.focus();
  }
}

function nameOf(byte) {
  return NAMES[byte] ?? (byte > 32 && byte < 127 ? String.fromCharCode(byte) : "·");
}
