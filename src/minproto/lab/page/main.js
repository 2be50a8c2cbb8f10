// The page: its tabs, and where the lab is reached. Each tab is a module that is told when it is shown and when it is left.

import { byId } from "./common.js";
import { push } from "./push.js";
import { six } from "./six.js";
import { slow } from "./slow.js";
import { wire } from "./wire.js";

const TABS = { push, six, slow, wire };

const places = await (await fetch("/lab/places")).json();
const tabs = [...document.querySelectorAll("[role=tab]")];
let shown = null;

/** Show a tab's panel; the one before it lets go of its connections. */
function show(tab) {
  const name = tab.getAttribute("aria-controls");
  if (name === shown) return;
  if (shown) TABS[shown].leave();
  for (const other of tabs) {
    const chosen = other === tab;
    other.setAttribute("aria-selected", chosen);
    other.tabIndex = chosen ? 0 : -1;
    byId(other.getAttribute("aria-controls")).hidden = !chosen;
  }
  shown = name;
  history.replaceState(null, "", `#${name}`);
  TABS[name].show();
}

// The keys of a tab list: arrows go round, Home and End to its ends.
function onKey(event) {
  const here = tabs.indexOf(event.currentTarget);
  const there = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: tabs.length - 1 }[event.key];
  if (there === undefined) return;
  event.preventDefault();
  const tab = tabs[(there + tabs.length) % tabs.length];
  tab.focus();
  show(tab);
}

function showPlaces() {
  const host = location.hostname;
  const rows = [
    ["HTTP", `http://${host}:${places.http}/`],
    ["HTTPS", places.https ? `https://${host}:${places.https}/` : "not here: see what the lab printed"],
    ["Redis clients", places.broker ? `redis-cli -p ${places.broker}` : "not here"],
    ["curl", `curl -i http://${host}:${places.http}/hello`],
  ];
  const list = document.createElement("dl");
  for (const [name, value] of rows) {
    const row = list.appendChild(document.createElement("div"));
    row.appendChild(document.createElement("dt")).textContent = name;
    row.appendChild(document.createElement("dd")).appendChild(document.createElement("code")).textContent = value;
  }
  byId("places").replaceChildren(list);
}

showPlaces();
for (const module of Object.values(TABS)) module.begin(places);
for (const tab of tabs) {
  tab.onclick = () => show(tab);
  tab.onkeydown = onKey;
}
show(tabs.find((tab) => `#${tab.getAttribute("aria-controls")}` === location.hash) ?? tabs[0]);

// A page that its user left may be kept for when they come back, with its connections, of which a browser has six.
window.addEventListener("pagehide", () => {
  TABS[shown].leave();
  wire.end();
});
window.addEventListener("pageshow", (event) => event.persisted && TABS[shown].show());
