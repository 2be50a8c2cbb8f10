// The page: its tabs, and where the lab is reached. Each tab is a module that is told when it is shown and when it is left, and
// when the lab goes away and is back.

import * as alive from "./alive.js";
import { apart } from "./apart.js";
import { byId } from "./common.js";
import { push } from "./push.js";
import { six } from "./six.js";
import { slow } from "./slow.js";
import { wire } from "./wire.js";

const TABS = { push, six, slow, wire, apart };

const places = await askPlaces();
const tabs = [...document.querySelectorAll("[role=tab]")];
const nameOf = (hash) => hash.slice(1).split("=")[0]; // what is behind the name belongs to the tab
const tabOf = (hash) => tabs.find((tab) => tab.getAttribute("aria-controls") === nameOf(hash)) ?? tabs[0];
let shown = null;

/** Where the lab is reached; where it does not answer, again and again. */
async function askPlaces() {
  for (;;) {
    try {
      return await (await fetch("/lab/places")).json();
    } catch {
      byId("gone").hidden = false;
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

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
  TABS[name].show();
}

/** A tab that was chosen here: its name goes into the address, and the browser's Back leads to the one before. */
function choose(tab) {
  const name = tab.getAttribute("aria-controls");
  if (name !== nameOf(location.hash)) history.pushState(null, "", `#${name}`);
  show(tab);
}

// The keys of a tab list: arrows go round, Home and End to its ends.
function onKey(event) {
  const here = tabs.indexOf(event.currentTarget);
  const there = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: tabs.length - 1 }[event.key];
  if (there === undefined) return;
  event.preventDefault();
  const tab = tabs[(there + tabs.length) % tabs.length];
  tab.focus();
  choose(tab);
}

function showPlaces() {
  const host = location.hostname;
  const http = `http://${host}:${places.http}`;
  const rows = [
    ["HTTP", link(`${http}/`)],
    ["HTTPS", places.https ? link(`https://${host}:${places.https}/`) : "not here: see what the lab printed"],
    ["Redis clients", code(places.broker ? `redis-cli -p ${places.broker}` : "not here")],
    ["curl", code(`curl -i ${http}/hello`)],
  ];
  const list = document.createElement("dl");
  for (const [name, value] of rows) {
    const row = list.appendChild(document.createElement("div"));
    row.appendChild(document.createElement("dt")).textContent = name;
    row.appendChild(document.createElement("dd")).append(value);
  }
  byId("places").replaceChildren(list);
}

function code(text) {
  return Object.assign(document.createElement("code"), { textContent: text });
}

function link(url) {
  const element = Object.assign(document.createElement("a"), { href: url });
  element.append(code(url));
  return element;
}

/** The lab has gone, or is back. A lab that was started again may be reached elsewhere, which all of the page has to know. */
async function onLab(isHere) {
  byId("gone").hidden = isHere;
  if (isHere && JSON.stringify(await askPlaces()) !== JSON.stringify(places)) return location.reload();
  if (isHere !== alive.isHere()) return; // it has changed meanwhile, and we are called for that, too
  for (const module of Object.values(TABS)) module.onLab?.(isHere);
}

showPlaces();
for (const module of Object.values(TABS)) module.begin(places);
for (const tab of tabs) {
  tab.onclick = () => choose(tab);
  tab.onkeydown = onKey;
}
alive.watchLab(onLab); // first: once a page watches the wire, it is shown what others connect
show(tabOf(location.hash));
if (nameOf(location.hash) !== shown) history.replaceState(null, "", `#${shown}`);
window.addEventListener("hashchange", () => {
  show(tabOf(location.hash));
  TABS[shown].onAddress?.();
});

// A page that its user left may be kept for when they come back, with its connections, of which a browser has six.
window.addEventListener("pagehide", () => {
  TABS[shown].leave();
  wire.end();
  alive.close();
});
window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  alive.open();
  TABS[shown].show();
});
