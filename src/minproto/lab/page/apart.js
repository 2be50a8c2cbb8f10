// Take it apart: a stream, its cuts, and what a core makes of it, step by step. The server runs the core; this keeps the bytes.
//
// All of it is in the address, so a link shows the same to everybody, and a law's counter-example is printed as such a link:
//
//     #apart=http1-request/server/474554202f0d0a/3,5/2     protocol, role, bytes, cuts, step

import { Strip } from "./strip.js";
import { byId, make } from "./common.js";
import { fromHex, fromText, hexOf, toText } from "./escapes.js";
import { arrivalOf, outcomeOf, showStep } from "./step.js";

const NAMES = {
  "http1-request": "HTTP/1.1 requests", "http1-response": "HTTP/1.1 responses", websocket: "WebSocket frames",
  sse: "an event stream", resp: "RESP (Redis)", http2: "HTTP/2",
};
const SOON = 150; // milliseconds between a key and the question to the server
const LISTED = 400; // steps in the list: the ones around the chosen step

let offer = null;
let stream = { protocol: "http1-request", role: "server", bytes: new Uint8Array(), cuts: [], step: 1 };
let found = { steps: [], rows: [], before: { bytes: 0 }, more: false };
let asked = 0; // how many questions were sent: only the last one's answer is shown
let isUnanswered = false; // the lab was gone when the last question was asked
let timer = 0;
let isShown = false;
let strip = null;

// ---- the address -------------------------------------------------------------------------------------------------------

function writeAddress() {
  if (!isShown) return;
  const { protocol, role, bytes, cuts, step } = stream;
  history.replaceState(null, "", `#apart=${protocol}/${role}/${hexOf(bytes).join("")}/${cuts.join(",")}/${step}`);
}

/** Take the stream from an address, if there is one in it. Whether its parts make sense, the server says. */
function readAddress() {
  const [, words] = location.hash.match(/^#apart=(.*)$/s) ?? [];
  if (words === undefined) return false;
  const [protocol, role = "", hex = "", cuts = "", step = "1"] = words.split("/");
  byId("apart-look").textContent = "";
  try {
    stream = { protocol, role, bytes: fromHex(hex), cuts: cuts.split(",").filter(Boolean).map(Number), step: Number(step) || 1 };
  } catch (error) {
    complain(`The bytes of this link are damaged: ${error.message}.`);
    return true;
  }
  showStream();
  ask();
  return true;
}

// ---- the stream --------------------------------------------------------------------------------------------------------

/** Other bytes: cuts in front of the change stay, cuts behind it move along, and cuts inside of it are gone. */
function setBytes(bytes) {
  const old = stream.bytes;
  const least = Math.min(old.length, bytes.length);
  let head = 0;
  while (head < least && old[head] === bytes[head]) head += 1;
  let tail = 0;
  while (tail < least - head && old[old.length - 1 - tail] === bytes[bytes.length - 1 - tail]) tail += 1;
  const moved = stream.cuts.map((cut) => (cut <= head ? cut : cut >= old.length - tail ? cut + bytes.length - old.length : 0));
  stream.bytes = bytes;
  stream.cuts = [...new Set(moved)].filter((cut) => cut > 0 && cut < bytes.length).sort((one, other) => one - other);
}

function toggleCut(at) {
  const cuts = stream.cuts.filter((cut) => cut !== at);
  stream.cuts = cuts.length < stream.cuts.length ? cuts : [...cuts, at].sort((one, other) => one - other);
  strip.show(stream.bytes, stream.cuts);
  ask();
}

/** A choice of the first list: an exchange, or a wrong example of the ledger. */
function choose(words) {
  const [kind, number] = words.split(" ");
  const chosen = offer[kind]?.[Number(number)];
  if (!chosen) return;
  stream = { protocol: chosen.protocol, role: chosen.role, bytes: fromHex(chosen.hex), cuts: chosen.cuts ?? [], step: 1 };
  byId("apart-look").textContent = chosen.look ?? `A wrong example of ${chosen.id}: the last step says what our core makes of it.`;
  showStream();
  byId("apart-exchange").value = words;
  ask();
}

const lineBreak = () => (stream.protocol === "sse" ? "\\n" : "\\r\\n");

function edit(parse, area, other, write) {
  try {
    setBytes(parse(area.value, lineBreak()));
  } catch (error) {
    area.ariaInvalid = "true";
    return complain(`${error.message}.`);
  }
  for (const each of [area, other]) each.ariaInvalid = "false";
  other.value = write(stream.bytes);
  byId("apart-look").textContent = "";
  strip.show(stream.bytes, stream.cuts);
  clearTimeout(timer);
  timer = setTimeout(ask, SOON);
}

const spaced = (bytes) => hexOf(bytes).join(" ");

/** Show the stream in all its places, but not its steps: the server tells those. */
function showStream() {
  byId("apart-hex").value = spaced(stream.bytes);
  byId("apart-text").value = toText(stream.bytes);
  for (const area of ["apart-hex", "apart-text"]) byId(area).ariaInvalid = "false";
  byId("apart-end").value = `${stream.protocol}/${stream.role}`;
  offerWrong();
  strip.show(stream.bytes, stream.cuts);
}

// ---- the steps ---------------------------------------------------------------------------------------------------------

async function ask() {
  const mine = ++asked;
  const { protocol, role, bytes, cuts } = stream;
  const order = { protocol, role, hex: hexOf(bytes).join(""), cuts };
  const answer = await fetch("/lab/apart", { method: "POST", body: JSON.stringify(order) }).catch(() => null);
  const content = answer && (answer.ok ? await answer.json() : await answer.text());
  if (mine !== asked) return;
  isUnanswered = !answer;
  if (!answer?.ok) return complain(answer ? content : "The lab does not answer.");
  complain("");
  found = content;
  const { before } = found;
  byId("apart-before").textContent = before.bytes ? `Before the first byte, the owner has sent ${before.bytes} bytes.` : "";
  byId("apart-more").hidden = !found.more;
  go(stream.step);
}

function complain(words) {
  byId("apart-wrong").textContent = words;
  byId("apart-wrong").hidden = !words;
}

/** Go to a step; the first one is 1. */
function go(step) {
  const { steps } = found;
  if (!steps.length) return;
  stream.step = Math.min(Math.max(Math.trunc(step), 1), steps.length);
  const now = steps[stream.step - 1];
  const arrived = steps.slice(0, stream.step).reduce((most, each) => each.arrived.data?.[1] ?? most, 0);
  Object.assign(byId("apart-at"), { max: steps.length, value: stream.step, ariaValueText: `step ${stream.step} of ${steps.length}` });
  byId("apart-number").value = `${stream.step} of ${steps.length}`;
  for (const [id, isOver] of [["first", stream.step === 1], ["back", stream.step === 1], ["next", stream.step === steps.length], ["last", stream.step === steps.length]]) {
    byId(`apart-${id}`).ariaDisabled = String(isOver);
  }
  strip.mark(now.parsed, arrived);
  byId("apart-step").replaceChildren(...showStep(now, found.rows, stream.bytes, (ends) => strip.point(ends)));
  listSteps();
  writeAddress();
}

function listSteps() {
  const list = byId("apart-steps");
  const first = Math.max(0, Math.min(stream.step - LISTED / 2, found.steps.length - LISTED));
  list.start = first + 1;
  list.replaceChildren(...found.steps.slice(first, first + LISTED).map((step, number) => {
    const button = make("button", { type: "button", className: step.error ? "wrong" : step.event ? "event" : "" },
      ...(arrivalOf(step) ? [make("span", { className: "arrival", textContent: `+ ${arrivalOf(step)}` })] : []),
      make("span", { textContent: outcomeOf(step) }));
    button.dataset.step = first + number + 1;
    button.tabIndex = -1; // the keyboard has the slider
    if (first + number + 1 === stream.step) button.ariaCurrent = "step";
    return make("li", {}, button);
  }));
  const now = list.querySelector("[aria-current]");
  if (now) list.scrollTop = now.parentElement.offsetTop - list.clientHeight / 2;
}

// ---- the tab -----------------------------------------------------------------------------------------------------------

async function askOffer() {
  const answer = await fetch("/lab/apart").catch(() => null);
  if (!answer?.ok || offer) return;
  offer = await answer.json();
  byId("apart-end").replaceChildren(...Object.entries(offer.ends).flatMap(([protocol, roles]) =>
    roles.map((role) => make("option", { value: `${protocol}/${role}`, textContent: `${NAMES[protocol]}, read by a ${role}` }))));
  if (!readAddress()) choose("exchanges 0");
}

/** The first list: the exchanges of all protocols, and the ledger's wrong examples of the chosen one. */
function offerWrong() {
  if (!offer) return;
  const group = (label, kind, entries) => make("optgroup", { label }, ...entries.map(([text, number]) => make("option", { textContent: text, value: `${kind} ${number}` })));
  const wrong = offer.wrong.map((each, number) => ({ ...each, number })).filter((each) => each.protocol === stream.protocol && each.role === stream.role);
  byId("apart-exchange").replaceChildren(
    make("option", { value: "", textContent: "Choose a stream …" }),
    group("Worked exchanges", "exchanges", offer.exchanges.map((each, number) => [each.title, number])),
    group("Wrong examples of the ledger, for this protocol and role", "wrong", wrong.map((each) => [each.id, each.number])),
  );
}

export const apart = {
  begin() {
    strip = new Strip(byId("apart-bytes"), toggleCut);
    const [hex, text] = [byId("apart-hex"), byId("apart-text")];
    hex.oninput = () => edit(fromHex, hex, text, toText);
    text.oninput = () => edit((value, typed) => fromText(value, typed), text, hex, spaced);
    hex.onchange = text.onchange = () => hex.ariaInvalid !== "true" && text.ariaInvalid !== "true" && showStream();
    byId("apart-exchange").onchange = (event) => choose(event.target.value);
    byId("apart-end").onchange = (event) => {
      [stream.protocol, stream.role] = event.target.value.split("/");
      offerWrong();
      ask();
    };
    byId("apart-uncut").onclick = () => {
      stream.cuts = [];
      strip.show(stream.bytes, []);
      ask();
    };
    byId("apart-each").onclick = () => {
      stream.cuts = Array.from({ length: Math.min(Math.max(stream.bytes.length - 1, 0), offer?.max_cuts ?? 0) }, (_, at) => at + 1);
      strip.show(stream.bytes, stream.cuts);
      ask();
    };
    byId("apart-first").onclick = () => go(1);
    byId("apart-back").onclick = () => go(stream.step - 1);
    byId("apart-next").onclick = () => go(stream.step + 1);
    byId("apart-last").onclick = () => go(Infinity);
    byId("apart-at").oninput = () => go(Number(byId("apart-at").value));
    byId("apart-steps").onclick = (event) => {
      const button = event.target.closest("button");
      if (button) go(Number(button.dataset.step));
    };
  },
  show() {
    isShown = true;
    if (!offer) askOffer();
    else writeAddress();
  },
  leave() {
    isShown = false;
  },
  /** The address was changed by hand, or by Back. */
  onAddress() {
    if (offer) readAddress();
  },
  onLab(isHere) {
    if (!isHere || !isShown) return;
    if (!offer) askOffer();
    else if (isUnanswered) ask();
  },
};
