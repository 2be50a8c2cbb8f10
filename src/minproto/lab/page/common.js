// What several tabs use.

export const byId = (id) => document.getElementById(id);

/** Milliseconds, for people. */
export function duration(milliseconds) {
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}
