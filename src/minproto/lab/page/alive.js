// Whether the lab is there. A WebSocket that says so each second is open whatever tab is shown: it takes none of the browser's
// six connections, and ends at once when the lab does. A lab that is stuck says nothing; that is noticed after a while.

import { byId, hangUp, press } from "./common.js";

const PAUSE = 1000; // milliseconds between two attempts
const SILENCE = 5000; // milliseconds without a sign of life

let socket = null;
let heard = 0;
let told = () => {};

/** Watch the lab; `tell(isHere)` is called when it comes and when it goes. */
export function watchLab(tell) {
  told = tell;
  open();
  setInterval(() => socket && Date.now() - heard > SILENCE && lose(), PAUSE);
}

/** Whether the lab answered last time. */
export const isHere = () => document.body.dataset.lab === "here";

/** The page is left, and may be kept for when its user comes back: `open` again then. */
export function close() {
  const old = socket;
  socket = null;
  if (old) hangUp(old);
}

export function open() {
  if (socket) return;
  socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}/lab/alive`);
  heard = Date.now();
  const mine = socket;
  mine.onmessage = () => {
    heard = Date.now();
    if (mine === socket) say("here", "connected");
  };
  mine.onclose = () => mine === socket && lose();
}

function lose() {
  close();
  say("gone", "the lab does not answer; trying again");
  setTimeout(open, PAUSE);
}

function say(state, words) {
  if (document.body.dataset.lab === state) return;
  document.body.dataset.lab = state;
  byId("link").textContent = words;
  byId("link").dataset.state = state;
  byId("gone").hidden = state === "here";
  press.allow(state === "here");
  told(state === "here");
}
