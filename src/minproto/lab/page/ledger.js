// What a column has received, against what the server says was published: missed, repeated, and how late.
//
// An id is "milliseconds-sequence": the moment of publishing, and a number for those of the same one. Ids only grow, and each
// way of listening keeps their order; so an id that is not above the newest is a repeat, and one that was published below the
// newest and never came is missed.

const MOST = 5000; // ids that wait to be settled; the lab keeps 1,000 messages, so what is older can come no more
const DELAYS = 500; // of which the median is taken

export const moment = (id) => Number(id.split("-")[0]);

function isAbove(one, other) {
  const [milliseconds, sequence] = one.split("-").map(Number);
  const [others, otherSequence] = other.split("-").map(Number);
  return milliseconds > others || (milliseconds === others && sequence > otherSequence);
}

export class Ledger {
  messages = 0;
  missed = 0;
  repeated = 0;
  worst = 0;
  #expected = []; // published, and not yet settled
  #received = new Set(); // of those
  #delays = [];
  #next = 0;

  constructor(start) {
    this.newest = start;
  }

  /** The page has a message; its delay in milliseconds, or null for a repeat. */
  receive(id, now = Date.now()) {
    if (!isAbove(id, this.newest)) {
      this.repeated += 1;
      return null;
    }
    this.newest = id;
    this.messages += 1;
    this.#received.add(id);
    const delay = Math.max(0, now - moment(id));
    this.worst = Math.max(this.worst, delay);
    this.#delays[this.#next] = delay;
    this.#next = (this.#next + 1) % DELAYS;
    return delay;
  }

  /** The server says what was published since; how many more of it are missed by now. */
  publish(ids) {
    this.#expected.push(...ids);
    const before = this.missed;
    while (this.#expected.length && (this.#expected.length > MOST || !isAbove(this.#expected[0], this.newest))) {
      if (!this.#received.delete(this.#expected.shift())) this.missed += 1;
    }
    return this.missed - before;
  }

  /** Milliseconds, or null while there is none. */
  get median() {
    if (!this.#delays.length) return null;
    const sorted = Float64Array.from(this.#delays).sort();
    return sorted[Math.floor(sorted.length / 2)];
  }
}
