// Bars on a time line, as SVG: rows with parts, each from one moment to another, in milliseconds.

const SPACE = "http://www.w3.org/2000/svg";
const ROW = 14;
const LABELLED = { wide: 24, phone: 34 }; // the height of a row whose label stands on its bar: a phone has larger letters
const LEFT = 8;
const WIDTH = 600;
const FOOT = 22;

function make(name, attributes, text) {
  const element = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

/** rows: [{label, parts: [{kind, from, to}]}]; until: the end of the line. A row with `name` and `value` shows both on its bar. */
export function bars(rows, until, label) {
  const labelled = matchMedia("(max-width: 40rem)").matches ? LABELLED.phone : LABELLED.wide; // as in lab.css
  const size = rows.some((row) => row.name) ? labelled : ROW;
  const height = rows.length * size + FOOT;
  const svg = make("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": label, class: "bars" });
  const x = (moment) => LEFT + ((WIDTH - 2 * LEFT) * moment) / until;
  for (let tick = 0; tick <= until; tick += step(until)) {
    svg.append(make("line", { x1: x(tick), x2: x(tick), y1: 0, y2: height - FOOT + 4, class: "tick" }));
    const place = x(tick) > WIDTH - 75 ? { x: WIDTH, "text-anchor": "end" } : { x: x(tick) + 3 };
    svg.append(make("text", { ...place, y: height - 5, class: "tick" }, tick < 1000 ? `${tick} ms` : `${tick / 1000} s`));
  }
  rows.forEach((row, number) => {
    const group = svg.appendChild(make("g", { "data-row": number }));
    group.append(make("title", {}, row.label));
    for (const { kind, from, to } of row.parts) {
      if (to <= from) continue;
      const width = Math.max(x(to) - x(from), 1);
      group.append(make("rect", { x: x(from), y: number * size + 2, width, height: size - 4, rx: 2, class: kind }));
    }
    if (row.name) labels(group, row, number * size + size / 2, x(row.parts.at(-1).to));
  });
  return svg;
}

/** The name at the beginning of a bar, and the value at its end: outside, if there is room. */
function labels(group, row, y, end) {
  group.append(make("text", { x: LEFT + 7, y, class: "on-bar middle" }, row.name));
  const outside = end < WIDTH - 80;
  const place = outside ? { x: end + 6, class: "middle" } : { x: end - 7, "text-anchor": "end", class: "on-bar middle" };
  group.append(make("text", { y, ...place }, row.value));
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
