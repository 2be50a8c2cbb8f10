// Six connections: the same 24 requests over HTTP/1.1 and over HTTP/2, as two waterfalls of the browser's own times.

import { bars, together } from "./bars.js";
import { byId, duration, make, onPress } from "./common.js";

const TILES = 24;
let races = [];
let run = 0;

class Race {
  constructor(title, origin) {
    this.title = title;
    this.origin = origin;
    this.card = document.createElement("article");
    this.card.className = "card";
    this.card.innerHTML = `
      <h3></h3><p class="summary hint" role="status">Not run yet.</p><dl class="large"></dl>
      <div class="tiles" aria-hidden="true">${"<i></i>".repeat(TILES)}</div><div class="chart"></div>`;
    this.card.querySelector("h3").textContent = title;
    this.tiles = [...this.card.querySelectorAll(".tiles i")];
  }

  say(text) {
    this.card.querySelector(".summary").textContent = text;
  }

  /** Fetch all tiles; their times, or null where the server can't be reached. */
  async fetch(delay) {
    this.say("Running.");
    this.card.querySelector(".chart").replaceChildren();
    this.card.querySelector("dl").replaceChildren();
    for (const tile of this.tiles) tile.className = "";
    const urls = this.tiles.map((_, number) => `${this.origin}/lab/tile/${number}?delay=${delay}&run=${++run}`);
    try {
      await Promise.all(urls.map((url, number) => this.#fetchTile(url, this.tiles[number])));
    } catch {
      this.say("Not reached.");
      return null;
    }
    return Promise.all(urls.map(timesOf));
  }

  async #fetchTile(url, tile) {
    const response = await fetch(url, { cache: "no-store", credentials: "omit" });
    if (!response.ok) throw new Error(response.statusText);
    await response.text();
    tile.className = "done";
  }

  show(times, until) {
    const start = Math.min(...times.map((time) => time.startTime));
    const rows = times.map((time, number) => ({ label: `tile ${number}`, parts: parts(time, start) }));
    const most = together(times.map((time) => [time.requestStart, time.responseEnd]));
    const queued = Math.max(...times.map((time) => sent(time) - time.startTime));
    const whole = Math.max(...times.map((time) => time.responseEnd)) - start;
    this.say("");
    const figures = [["for all", duration(whole)], ["most at once", most], ["longest wait for a turn", duration(queued)]];
    this.card.querySelector("dl").replaceChildren(...figures.map(([name, value]) =>
      make("div", {}, make("dt", { textContent: name }), make("dd", { textContent: value }))));
    byId("race-legend").hidden = false;
    Object.assign(this.card.dataset, { protocol: times[0].nextHopProtocol, most, whole: Math.round(whole) });
    this.card.querySelector(".chart").replaceChildren(bars(rows, until, `${this.title}: waterfall of ${TILES} requests`));
  }
}

/** When a request's own connection begins, or when it gets its turn on one that was open. */
function sent(time) {
  return time.connectEnd > time.connectStart ? time.connectStart : time.requestStart;
}

function parts(time, start) {
  const at = (moment) => moment - start;
  return [
    { kind: "queued", from: at(time.startTime), to: at(sent(time)) },
    { kind: "connecting", from: at(sent(time)), to: at(time.requestStart) },
    { kind: "waiting", from: at(time.requestStart), to: at(time.responseStart) },
    { kind: "content", from: at(time.responseStart), to: at(Math.max(time.responseEnd, time.responseStart + 1)) },
  ];
}

/** The entry of a request, which comes a moment after its answer. */
export async function timesOf(url) {
  for (let attempt = 0; attempt < 50; attempt += 1) {
    const entry = performance.getEntriesByName(url).at(-1);
    if (entry) return entry;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`no times of ${url}`);
}

async function race() {
  byId("untrusted").hidden = true;
  performance.clearResourceTimings();
  const all = [];
  for (const one of races) all.push(await one.fetch(byId("delay").value));
  const wholes = all.filter(Boolean).map((times) => {
    return Math.max(...times.map((time) => time.responseEnd)) - Math.min(...times.map((time) => time.startTime));
  });
  all.forEach((times, number) => times && races[number].show(times, Math.max(...wholes) * 1.02));
  if (all[0] && all[1] === null) explain(); // else it is the lab that does not answer
}

/** Browsers speak HTTP/2 over TLS alone, and nobody has told this one to trust the lab's certificate. */
function explain() {
  const address = document.createElement("a");
  address.href = races[1].origin;
  address.textContent = races[1].origin;
  address.target = "_blank";
  byId("untrusted").replaceChildren(
    "The lab has signed its own certificate, so you have to tell your browser to accept it. Open ", address,
    " once, choose to go on, come back here, and fetch again.",
  );
  byId("untrusted").hidden = false;
}

export const six = {
  begin(places) {
    const host = location.hostname;
    races = [new Race("Over HTTP/1.1", `http://${host}:${places.http}`)];
    if (places.https) races.push(new Race("Over HTTP/2", `https://${host}:${places.https}`));
    else {
      byId("untrusted").textContent = "This lab has no HTTPS, and browsers speak HTTP/2 only over HTTPS. The lab printed at its start what is missing.";
      byId("untrusted").hidden = false;
    }
    byId("races").replaceChildren(...races.map((one) => one.card));
    byId("delay").oninput = () => (byId("delay-value").value = `${byId("delay").value} ms`);
    onPress(byId("race"), race);
  },
  show() {},
  leave() {},
};
