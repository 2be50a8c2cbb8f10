// The wire: every byte of the lab's connections as it crosses, in rows of named fields. The server explains; this only shows.
//
// A row is a head, a frame, a chunk. The last rows of each connection are kept, and the last connections, so a page that is
// left open does not grow.

import { isHere } from "./alive.js";
import { byId, make, onPress } from "./common.js";
import { showField, visible } from "./fields.js";

const CONNECTIONS = 16;
const ROWS = 150; // of each
const SHOWN = 300; // in the list

let socket = null;
let wanted = false;
let paused = false;
let passed = 0; // rows that crossed while paused
let lab = ""; // the name of the lab that the connections' numbers are of
let before = 0; // the highest number before this lab's: it counts from 1 again, and old rows are still here
let connections = new Map(); // number: {number, peer, port, secure, ended, rows}
let selected = null;
let follows = true; // the newest row is shown, until the user chooses one
let serial = 0;
let waiting = []; // rows that come with the next frame of the screen
let ports = {};

// ---- what comes --------------------------------------------------------------------------------------------------------

function watch() {
  wanted = true;
  if (socket) return;
  socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}/lab/wire/watch`);
  socket.onopen = () => say();
  socket.onmessage = (event) => JSON.parse(event.data).forEach(take);
  socket.onclose = () => {
    socket = null;
    for (const connection of connections.values()) connection.ended ??= "the lab was gone";
    say();
    setTimeout(() => wanted && isHere() && watch(), 1000);
  };
}

function take(event) {
  if (event.event === "lab") return number(event.name);
  if ("connection" in event) event.connection += before;
  if (event.event === "gap") return say(`${event.count ?? "some"} events were too many for this page`);
  if (event.event === "opened") return open(event);
  const connection = connections.get(event.connection);
  if (!connection) return;
  if (event.event === "ended") {
    connection.ended = event.reason;
    return showConnections();
  }
  if (paused) {
    passed += 1;
    return say();
  }
  event.serial = ++serial;
  connection.rows.push(event);
  if (connection.rows.length > ROWS) connection.rows.shift();
  if (connection.protocol !== event.protocol) {
    connection.protocol = event.protocol;
    showConnections();
  }
  if (!waiting.length) requestAnimationFrame(append);
  waiting.push(event);
  if (waiting.length > SHOWN) waiting.shift(); // nobody draws in a window that is not seen
}

/** The feed begins, of this lab: connections of another one are not its own, though it gives them the same numbers. */
function number(name) {
  if (name !== lab) before = Math.max(before, ...connections.keys());
  lab = name;
}

function open(event) {
  const known = connections.get(event.connection);
  if (known) known.ended = null; // the feed was away, the connection was not
  else connections.set(event.connection, { ...event, number: event.connection, rows: [], ended: null, protocol: "" });
  if (connections.size > CONNECTIONS) connections.delete(connections.keys().next().value);
  showConnections();
}

// ---- the list ----------------------------------------------------------------------------------------------------------

const isWanted = (row) => {
  const [connection, protocol] = [byId("of-connection").value, byId("of-protocol").value];
  return (!connection || row.connection === Number(connection)) && (!protocol || row.protocol === protocol);
};

function append() {
  const list = byId("rows");
  const wasAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  list.append(...waiting.filter(isWanted).map(line));
  waiting = [];
  while (list.children.length > SHOWN) list.firstElementChild.remove();
  if (follows && list.lastElementChild) mark(list.lastElementChild);
  if (wasAtEnd && follows) list.scrollTop = list.scrollHeight;
  offerProtocols();
  byId("nothing").hidden = list.children.length > 0;
}

function showAll() {
  const rows = [...connections.values()].flatMap((connection) => connection.rows).sort((one, other) => one.serial - other.serial);
  waiting = [];
  byId("rows").replaceChildren(...rows.filter(isWanted).slice(-SHOWN).map(line));
  if (selected && !isWanted(selected)) select(null);
  if (follows && byId("rows").lastElementChild) mark(byId("rows").lastElementChild);
  byId("nothing").hidden = byId("rows").children.length > 0;
}

function line(row) {
  const size = row.fields.reduce((sum, field) => sum + field.bytes, 0);
  const element = make("li", { role: "option", id: `row-${row.serial}`, className: row.sender });
  element.ariaSelected = row === selected;
  element.tabIndex = row === selected ? 0 : -1;
  element.dataset.protocol = row.protocol;
  element.dataset.connection = row.connection;
  if (row.error) element.classList.add("wrong");
  element.append(
    make("span", { className: "who", textContent: `#${row.connection} ${row.sender === "client" ? "→" : "←"}` }),
    make("span", { className: "at", textContent: row.at.toFixed(3) }),
    make("span", { className: "what", textContent: visible(row.title) + (row.goes_on ? " …" : "") }),
    make("span", { className: "size", textContent: `${row.stream ? `stream ${row.stream}, ` : ""}${size.toLocaleString("en")} B` }),
  );
  element.row = row;
  return element;
}

/** The user chooses a row. None: the next one that comes is shown again. */
function select(element) {
  follows = !element;
  if (!element) {
    unmark();
    return byId("row").replaceChildren();
  }
  mark(element);
  element.focus({ preventScroll: true });
  element.scrollIntoView({ block: "nearest" });
}

function mark(element) {
  unmark();
  selected = element.row;
  element.ariaSelected = true;
  element.tabIndex = 0;
  byId("row").replaceChildren(...detail(selected));
}

function unmark() {
  const element = byId("rows").querySelector("[aria-selected=true]");
  if (element) Object.assign(element, { ariaSelected: "false", tabIndex: -1 });
  selected = null;
}

function onKey(event) {
  const list = byId("rows");
  const here = list.querySelector("[aria-selected=true]");
  const there = {
    ArrowDown: here ? here.nextElementSibling : list.firstElementChild,
    ArrowUp: here ? here.previousElementSibling : list.lastElementChild,
    Home: list.firstElementChild,
    End: list.lastElementChild,
    Enter: here ?? list.firstElementChild,
  }[event.key];
  if (event.key === "Escape") select(null);
  else if (there) select(there);
  else return;
  event.preventDefault();
}

// ---- one row -----------------------------------------------------------------------------------------------------------

function detail(row) {
  const where = [row.protocol, `${row.sender === "client" ? "from the client" : "from the server"}`, `byte ${row.offset}`,
    `${row.at.toFixed(3)} s after the connection began`];
  if (row.stream) where.splice(1, 0, `stream ${row.stream}`);
  const parts = [make("h3", { textContent: visible(row.title) }), make("p", { className: "hint", textContent: where.join(", ") })];
  if (row.error) parts.push(make("p", { className: "notice wrong", textContent: row.error }));
  parts.push(make("div", { className: "fields" }, ...row.fields.map(showField)));
  return parts;
}

/** Have the lab visit itself. */
async function visit(name) {
  const answer = await fetch(`/lab/wire/${name}`, { method: "POST" }).catch(() => null);
  if (answer && !answer.ok) say(await answer.text());
}

// ---- around it ---------------------------------------------------------------------------------------------------------

function say(words) {
  const state = paused ? `paused: ${passed.toLocaleString("en")} rows have passed by` : socket?.readyState === 1 ? "watching" : isHere() ? "connecting" : "the lab does not answer";
  byId("watching").textContent = words ?? state;
  byId("watching").dataset.state = paused ? "paused" : state;
}

/** The choices of a select, without losing the one that was made. */
function offer(select, choices) {
  const chosen = select.value;
  const now = [...select.options].map((option) => option.text).join();
  if (now === choices.map(([text]) => text).join()) return;
  select.replaceChildren(...choices.map(([text, value]) => make("option", { textContent: text, value })));
  select.value = choices.some(([, value]) => String(value) === chosen) ? chosen : "";
}

function showConnections() {
  const choices = [...connections.values()].map((it) => {
    const words = [`#${it.number}`, it.protocol || ports[it.port] || "", it.secure ? "in TLS" : "", it.ended ? `(${it.ended})` : ""];
    return [words.filter(Boolean).join(" "), it.number];
  });
  offer(byId("of-connection"), [["all connections", ""], ...choices]);
}

function offerProtocols() {
  const names = new Set([...connections.values()].flatMap((connection) => connection.rows.map((row) => row.protocol)));
  offer(byId("of-protocol"), [["all protocols", ""], ...[...names].sort().map((name) => [name, name])]);
}

export const wire = {
  begin(places) {
    ports = { [places.http]: "HTTP", [places.https]: "HTTPS", [places.broker]: "Redis" };
    const host = location.hostname;
    const commands = [`redis-cli -p ${places.broker} publish ${places.topic} hello`, `curl http://${host}:${places.http}/hello`];
    byId("commands").replaceChildren(...commands.map((command) => make("li", {}, make("code", { textContent: command }))));
    for (const button of document.querySelectorAll("[data-visit]")) {
      onPress(button, () => visit(button.dataset.visit));
    }
    byId("rows").onclick = (event) => event.target.closest("li") && select(event.target.closest("li"));
    byId("rows").onkeydown = onKey;
    byId("of-connection").onchange = byId("of-protocol").onchange = showAll;
    byId("pause").onclick = () => {
      paused = !paused;
      passed = 0;
      byId("pause").ariaPressed = paused;
      byId("pause").textContent = paused ? "Go on" : "Pause";
      say();
    };
    byId("clear").onclick = () => {
      for (const connection of connections.values()) connection.rows = [];
      connections = new Map([...connections].filter(([, connection]) => !connection.ended));
      select(null);
      showConnections();
      showAll();
    };
  },
  show: watch,
  onLab(isHere) {
    if (!isHere) socket?.close();
    else if (wanted) watch();
    say();
  },
  leave() {}, // it goes on: there may be something to see in another tab
  end() {
    wanted = false;
    socket?.close();
  },
};
