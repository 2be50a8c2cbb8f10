// Bars on a time line, as SVG: rows with parts, each from one moment to another, in milliseconds.

const SPACE = "http://www.w3.org/2000/svg";
const ROW = 14;
const LEFT = 8;
const WIDTH = 600;
const FOOT = 22;

function make(name, attributes, text) {
  const element = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

/** rows: [{label, parts: [{kind, from, to}]}]; until: the end of the line. */
export function bars(rows, until, label) {
  const height = rows.length * ROW + FOOT;
  const svg = make("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": label, class: "bars" });
  const x = (moment) => LEFT + ((WIDTH - 2 * LEFT) * moment) / until;
  for (let tick = 0; tick <= until; tick += step(until)) {
    svg.append(make("line", { x1: x(tick), x2: x(tick), y1: 0, y2: height - FOOT + 4, class: "tick" }));
    const place = x(tick) > WIDTH - 50 ? { x: WIDTH, "text-anchor": "end" } : { x: x(tick) + 3 };
    svg.append(make("text", { ...place, y: height - 5, class: "tick" }, tick < 1000 ? `${tick} ms` : `${tick / 1000} s`));
  }
  rows.forEach((row, number) => {
    const group = svg.appendChild(make("g", { "data-row": number }));
    group.append(make("title", {}, row.label));
    for (const { kind, from, to } of row.parts) {
      if (to <= from) continue;
      const width = Math.max(x(to) - x(from), 1);
      group.append(make("rect", { x: x(from), y: number * ROW + 2, width, height: ROW - 4, rx: 2, class: kind }));
    }
  });
  return svg;
}

/** A round number of milliseconds, so that there are at most eight. */
function step(until) {
  return [10, 20, 50, 100, 200, 250, 500, 1000, 2000].find((size) => until / size <= 8) ?? 5000;
}

/** The most that were under way at the same moment: spans are [from, to]. */
export function together(spans) {
  const changes = spans.flatMap(([from, to]) => [[from, 1], [to, -1]]);
  changes.sort((one, other) => one[0] - other[0] || one[1] - other[1]);
  let now = 0;
  return Math.max(0, ...changes.map(([, change]) => (now += change)));
}
