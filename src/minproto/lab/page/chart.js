// A strip of the last 30 seconds: for each tenth of a second, how late the messages were that came in it, on a logarithmic
// scale; where some were replayed or missed; where the connection was lost. However many come, it holds 300 bins.

const BIN = 100; // milliseconds
const BINS = 300;
const LOW = 1; // milliseconds, at the foot
const HIGH = 60_000;
const COLOURS = ["muted", "line", "miss", "cut", "replay", "arrival"]; // as lab.css has them
const LINES = [10, 100, 1000, 10_000];
const TITLE = 16; // pixels above the plot, for the title of the axis of delays
const FOOT = 16; // pixels below it, for that of the time
const LEFT = 44; // pixels beside it, for the delays

export class Chart {
  #bins = Array.from({ length: BINS }, () => empty(-1));

  constructor(canvas) {
    this.canvas = canvas;
  }

  /** A message came, this late. */
  add(delay, replayed, now = Date.now()) {
    const bin = this.#bin(now);
    const value = Math.min(Math.max(delay, LOW), HIGH);
    bin.least = Math.min(bin.least, value);
    bin.most = Math.max(bin.most, value);
    bin.replayed ||= replayed;
  }

  miss(now = Date.now()) {
    this.#bin(now).missed = true;
  }

  cut(now = Date.now()) {
    this.#bin(now).cut = true;
  }

  #bin(now) {
    const number = Math.floor(now / BIN);
    const place = number % BINS;
    if (this.#bins[place].number !== number) this.#bins[place] = empty(number);
    return this.#bins[place];
  }

  draw(now = Date.now()) {
    const { canvas } = this;
    const { clientWidth: width, clientHeight: height } = canvas;
    const scale = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const context = canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    const style = getComputedStyle(canvas);
    // Looked up once for a drawing, and not for each of 300 bins: a look-up takes longer than a rectangle.
    const colours = Object.fromEntries(COLOURS.map((name) => [name, style.getPropertyValue(`--${name}`)]));
    const foot = height - FOOT;
    const y = (delay) => foot - 2 - ((foot - TITLE - 4) * Math.log(delay / LOW)) / Math.log(HIGH / LOW);

    context.font = "11px system-ui, sans-serif";
    context.fillStyle = colours.muted;
    context.textAlign = "left";
    context.fillText("delay of each message", 0, 10);
    context.fillText("30 s ago", LEFT, height - 3);
    context.textAlign = "right";
    context.fillText("now", width, height - 3);
    context.strokeStyle = colours.line;
    for (const value of LINES) {
      const place = Math.round(y(value)) + 0.5;
      context.beginPath();
      context.moveTo(LEFT, place);
      context.lineTo(width, place);
      context.stroke();
      context.fillText(value < 1000 ? `${value} ms` : `${value / 1000} s`, LEFT - 4, place + 4);
    }
    context.strokeRect(LEFT + 0.5, TITLE + 0.5, width - LEFT - 1, foot - TITLE - 1);
    const first = Math.floor(now / BIN) - BINS + 1;
    const step = (width - LEFT) / BINS;
    for (const bin of this.#bins) {
      if (bin.number < first) continue;
      const x = LEFT + (bin.number - first) * step;
      if (bin.missed || bin.cut) {
        context.fillStyle = colours[bin.missed ? "miss" : "cut"];
        context.globalAlpha = bin.missed ? 0.45 : 1;
        context.fillRect(x, TITLE, bin.missed ? 3 : 1.5, foot - TITLE);
        context.globalAlpha = 1;
      }
      if (bin.most) {
        context.fillStyle = colours[bin.replayed ? "replay" : "arrival"];
        context.fillRect(x, y(bin.most) - 1.5, Math.max(step, 2.5), y(bin.least) - y(bin.most) + 3);
      }
    }
  }
}

function empty(number) {
  return { number, least: Infinity, most: 0, replayed: false, missed: false, cut: false };
}
