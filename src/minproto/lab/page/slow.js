// Sync against async: five requests to each of two endpoints, drawn on one time line.

import { bars } from "./bars.js";
import { byId, duration, make, onPress } from "./common.js";
import { timesOf } from "./six.js";

const REQUESTS = 5;
const SECONDS = 0.5;
let run = 0;

/** Ask an endpoint five times at once; when each was answered. */
async function ask(kind) {
  const urls = Array.from({ length: REQUESTS }, () => `${location.origin}/slow/${kind}?seconds=${SECONDS}&run=${++run}`);
  await Promise.all(urls.map(async (url) => (await fetch(url, { cache: "no-store" })).text()));
  return Promise.all(urls.map(timesOf));
}

async function askBoth() {
  byId("verdict").textContent = "Running.";
  performance.clearResourceTimings();
  try {
    const [sync, async] = [await ask("sync"), await ask("async")];
    show({ sync, async });
  } catch (error) {
    byId("verdict").textContent = `The lab did not answer (${error.message}).`;
  }
}

function show(asked) {
  const rows = [];
  const wholes = {};
  for (const [kind, times] of Object.entries(asked)) {
    const start = Math.min(...times.map((time) => time.startTime));
    const ends = times.map((time) => time.responseEnd - start).sort((one, other) => one - other);
    wholes[kind] = ends.at(-1);
    ends.forEach((end, number) => rows.push({
      label: `/slow/${kind}, request ${number + 1}: ${duration(end)}`,
      name: `${kind} ${number + 1}`,
      value: duration(end),
      parts: [{ kind, from: 0, to: end }],
    }));
  }
  byId("line").replaceChildren(bars(rows, Math.max(...Object.values(wholes)) * 1.02, "When each request was answered"));
  byId("line").dataset.sync = Math.round(wholes.sync);
  byId("line").dataset.async = Math.round(wholes.async);
  const words = (kind, what) => make("span", { className: kind }, make("b", { textContent: duration(wholes[kind]) }), ` ${what}`);
  byId("verdict").replaceChildren(
    "The last answer came after ", words("sync", "where requests wait for each other"), ", and after ", words("async", "where they do not"), ".",
  );
}

export const slow = {
  begin() {
    onPress(byId("ask"), askBoth);
  },
  show() {},
  leave() {},
};
