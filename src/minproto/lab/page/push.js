// Push, side by side: the control (a WebSocket to the lab, on which the server reports what it counts), and four columns.

import { isHere } from "./alive.js";
import { Chart } from "./chart.js";
import { byId, duration, hangUp, make } from "./common.js";
import { Ledger, moment } from "./ledger.js";
import { WAYS } from "./ways.js";

const RATES = [0.5, 1, 2, 5, 20, 50, 100, 200];
const STORY = 4; // lines
const LATEST = 200; // characters of a message that are shown; it may have a million
const count = new Intl.NumberFormat("en");

class Column {
  constructor(name, template) {
    this.name = name;
    this.way = WAYS[name];
    this.card = template.content.firstElementChild.cloneNode(true);
    this.card.dataset.column = name;
    this.card.querySelector("h3").textContent = this.way.title;
    this.card.querySelector(".how").textContent = this.way.how;
    for (const button of this.card.querySelectorAll("button")) button.ariaLabel = `${button.textContent}: ${this.way.title}`;
    this.figures = Object.fromEntries([...this.card.querySelectorAll("[data-figure]")].map((it) => [it.dataset.figure, it]));
    this.story = this.card.querySelector(".story");
    this.chart = new Chart(this.card.querySelector("canvas"));
    this.card.querySelector("[data-do=cut]").onclick = () => this.cut();
    this.slowButton = this.card.querySelector("[data-do=slow]");
    this.slowButton.onclick = () => command({ slow: name, on: this.slowButton.ariaPressed !== "true" });
    const resume = this.card.querySelector("[data-do=resume]");
    resume.hidden = name !== "ws";
    resume.firstElementChild.onchange = (event) => (this.resumes = event.target.checked);
    this.resumes = false;
    this.compared = this.#compare();
  }

  /** The column's cells in the table that puts all columns side by side, where they do not fit beside each other. */
  #compare() {
    const head = byId("compare").querySelector("thead tr");
    head.append(make("th", { scope: "col", textContent: this.way.short }));
    const rows = [...byId("compare").querySelectorAll("[data-compare]")];
    return Object.fromEntries(rows.map((row) => [row.dataset.compare, row.appendChild(make("td", { textContent: this.figures[row.dataset.compare].textContent }))]));
  }

  /** Begin anew, behind an id. */
  begin(start, client) {
    this.client = client;
    this.ledger = new Ledger(start);
    this.chart = new Chart(this.chart.canvas);
    this.story.replaceChildren();
    this.replayed = 0;
    this.isLost = false;
    this.backAt = 0;
    this.latest = "";
    this.counted = 0; // requests, by the server
    this.question = null;
    this.#say("waiting");
  }

  listen(signal) {
    this.way.listen(this, signal);
  }

  url(name, query) {
    return `${location.origin}/lab/push/${name}?${new URLSearchParams({ client: this.client, ...query })}`;
  }

  /** Have the server reset this column's connections. (A browser may send an interrupted poll again without telling us.) */
  cut() {
    if (!running) return;
    command({ cut: this.name });
    this.chart.cut();
    this.#tell("lost", "cut");
  }

  // -- what a way to listen tells

  get newest() {
    return this.ledger.newest;
  }

  /** A request is on its way whose answer may take long. Once the server has counted it, all is well without an answer. */
  asks(at) {
    this.question = { at, counted: this.counted };
  }

  /** `at`: what was published before is a replay; 0 where none was asked for. */
  connected(at) {
    if (this.isLost) this.backAt = at;
    this.isLost = false;
    this.question = null;
    this.#say("connected");
  }

  lost() {
    if (!this.isLost && this.story.firstElementChild?.dataset.kind !== "lost") {
      this.chart.cut();
      this.#tell("lost", "connection lost");
    }
    this.isLost = true;
    this.question = null;
    this.#say("coming back");
  }

  /** Nobody listens: the lab does not answer, or another window has the columns. */
  stop(state) {
    this.#say(state);
  }

  receive(id, data) {
    const delay = this.ledger.receive(id);
    if (delay === null) return;
    const replayed = moment(id) <= this.backAt;
    if (replayed) {
      this.replayed += 1;
      this.#tell("replay", (n) => `replayed ${count.format(n)}`, 1);
    }
    this.latest = data.length > LATEST ? `${data.slice(0, LATEST)}…` : data || "(empty)";
    this.chart.add(delay, replayed);
  }

  gap(number) {
    this.#tell("gap", (n) => `the server says: a gap${n ? ` of ${count.format(n)}` : ""}`, number ?? 0);
  }

  // -- what the server reports

  report(ids, counted) {
    const missed = this.ledger.publish(ids);
    if (missed) {
      this.chart.miss();
      this.#tell("miss", (n) => `missed ${count.format(n)}`, missed);
    }
    this.counted = counted.requests;
    if (this.question && this.counted > this.question.counted) this.connected(this.question.at);
    const { ledger } = this;
    const isCounted = counted.sent !== null; // over HTTP/2 all columns share a connection
    const bytes = counted.sent + counted.received;
    this.#set("messages", count.format(ledger.messages));
    this.#set("requests", count.format(counted.requests));
    this.#set("sent", isCounted ? count.format(counted.sent) : "–");
    this.#set("received", isCounted ? count.format(counted.received) : "–");
    this.#set("price", ledger.messages && isCounted ? count.format(Math.round(bytes / ledger.messages)) : "–");
    this.#set("median", ledger.median === null ? "–" : duration(ledger.median));
    this.#set("worst", ledger.median === null ? "–" : duration(ledger.worst));
    this.#set("missed", count.format(ledger.missed));
    this.#set("repeated", count.format(ledger.repeated));
    this.#set("replayed", count.format(this.replayed));
    this.#set("latest", this.latest || "\u00a0");
    this.card.classList.toggle("has-missed", ledger.missed > 0);
    this.compared.missed.classList.toggle("miss", ledger.missed > 0);
    this.slowButton.ariaPressed = counted.slow;
    this.slowButton.disabled = !isCounted;
    this.chart.canvas.ariaLabel = `${this.way.title}: delay of messages, the last 30 seconds`;
  }

  #set(name, text) {
    if (this.figures[name].textContent === text) return;
    this.figures[name].textContent = text;
    if (this.compared[name]) this.compared[name].textContent = text;
  }

  #say(state) {
    this.#set("state", state);
    this.card.dataset.state = state;
  }

  /** A line of the story. More of the same goes into the same line: `words` makes it of the sum. */
  #tell(kind, words, number = 0) {
    let line = this.story.firstElementChild;
    if (!line || line.dataset.kind !== kind || !number) {
      line = document.createElement("li");
      line.dataset.kind = kind;
      line.dataset.number = 0;
      this.story.prepend(line);
      if (this.story.children.length > STORY) this.story.lastElementChild.remove();
    }
    line.dataset.number = Number(line.dataset.number) + number;
    line.textContent = typeof words === "string" ? words : words(Number(line.dataset.number));
  }
}

// ---- the control -------------------------------------------------------------------------------------------------------

let columns = [];
let control = null;
let running = null; // an AbortController while the columns listen
let shown = false;

function command(words) {
  if (control?.readyState === WebSocket.OPEN) control.send(JSON.stringify(words));
}

/** What the buttons are for has to be sent to the lab: without a control they look like what they are. */
function enable(isEnabled) {
  for (const button of document.querySelectorAll("#push button:not(#here)")) button.ariaDisabled = String(!isEnabled);
}

function open() {
  control = new WebSocket(`${location.origin.replace(/^http/, "ws")}/lab/push/control`);
  const mine = control;
  mine.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if ("client" in message) start(message);
    else report(message);
  };
  mine.onclose = () => {
    if (mine !== control) return;
    close("no answer");
    setTimeout(() => isHere() && resume(), 1000);
  };
}

/** Let go of all connections; the columns say why. */
function close(state = "not listening") {
  const old = control;
  control = null;
  stop();
  for (const column of columns) column.stop(state);
  enable(false);
  if (old) hangUp(old);
}

/** Go on as it was before the lab went away, unless another window has the columns by now. */
function resume() {
  if (shown && !control && byId("elsewhere").hidden) open();
}

function start({ client, start, topic }) {
  stop();
  enable(true);
  running = new AbortController();
  for (const column of columns) {
    column.begin(start, client);
    column.listen(running.signal);
  }
  byId("flow").ariaPressed = false;
}

function stop() {
  running?.abort();
  running = null;
}

function report({ published, columns: counted, rate }) {
  if (!running) return;
  for (const column of columns) column.report(published, counted[column.name]);
  byId("flow").ariaPressed = rate > 0;
  byId("flow").textContent = rate > 0 ? "Stop publishing" : "Keep publishing";
}

function draw() {
  if (!running) return;
  for (const column of columns) column.chart.draw();
}

// ---- one page at a time ------------------------------------------------------------------------------------------------

// Over HTTP/1.1 the columns take three of the six connections that a browser opens to a server, in all its windows. The page
// that was opened last has them; to hold a lock is what makes the others let go.

const isHttp2 = () => performance.getEntriesByType("navigation")[0]?.nextHopProtocol === "h2";

function run() {
  byId("elsewhere").hidden = true;
  if (control) return;
  open();
  if (isHttp2() || !navigator.locks) return;
  navigator.locks
    .request("minproto-push", { steal: true }, () => new Promise((release) => (letGo = release)))
    .catch(() => {
      letGo = null;
      close();
      byId("elsewhere").hidden = !shown;
    });
}

let letGo = null;

// ---- the tab -----------------------------------------------------------------------------------------------------------

export const push = {
  begin(places) {
    columns = Object.keys(WAYS).map((name) => new Column(name, byId("column")));
    byId("columns").replaceChildren(...columns.map((column) => column.card));
    byId("publish").onsubmit = (event) => {
      event.preventDefault();
      command({ publish: byId("message").value });
    };
    byId("rate").oninput = () => {
      byId("rate-value").value = RATES[byId("rate").value];
      byId("rate").ariaValueText = RATES[byId("rate").value];
      if (byId("flow").ariaPressed === "true") command({ rate: RATES[byId("rate").value] });
    };
    byId("flow").onclick = () => command({ rate: byId("flow").ariaPressed === "true" ? 0 : RATES[byId("rate").value] });
    byId("reset").onclick = () => {
      if (!running) return;
      close();
      open();
    };
    byId("here").onclick = run;
    const code = document.createElement("code");
    code.textContent = places.broker
      ? `redis-cli -p ${places.broker} publish ${places.topic} hello`
      : `curl -d hello 'http://${location.hostname}:${places.http}/publish?topic=${places.topic}'`;
    byId("shared").hidden = !isHttp2();
    byId("shared").querySelector("a").href = `http://${location.hostname}:${places.http}/`;
    byId("redis").replaceChildren("From a terminal, to the same topic: ", code);
    setInterval(draw, 100);
  },
  show() {
    shown = true;
    run();
  },
  leave() {
    shown = false;
    close();
    letGo?.();
    letGo = null;
  },
  onLab(isHere) {
    if (isHere) resume();
    else close("no answer");
  },
};
