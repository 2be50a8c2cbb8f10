// The four ways to listen, each as a page would write it. Each gets a column, which it tells what comes and how the connection
// fares, and a signal, which ends it. `column.newest` is the last id that came: where to resume.

import { hangUp } from "./common.js";

const PAUSE = 1000; // milliseconds between two polls, or two attempts

export const WAYS = {
  short: {
    title: "Short polling",
    short: "Short poll",
    how: "A request every second: is there anything new?",
    listen: (column, signal) => poll("short", PAUSE, column, signal),
  },
  long: {
    title: "Long polling",
    short: "Long poll",
    how: "The response waits until there is a message.",
    listen: (column, signal) => poll("long", 0, column, signal),
  },
  sse: {
    title: "Server-Sent Events",
    short: "SSE",
    how: "One response that goes on. The browser comes back by itself.",
    listen: events,
  },
  ws: {
    title: "WebSocket",
    short: "Web\u00adSocket",
    how: "A connection of messages, in both directions.",
    listen: webSocket,
  },
};

async function poll(name, pause, column, signal) {
  while (!signal.aborted) {
    const began = Date.now();
    column.asks(began);
    try {
      const response = await fetch(column.url(name, { after: column.newest }), { signal });
      if (!response.ok) throw new Error(response.statusText);
      const answer = await response.json();
      column.connected(began);
      if (answer.gap) column.gap();
      for (const { id, data } of answer.messages) column.receive(id, data);
    } catch (error) {
      if (signal.aborted) return;
      column.lost();
    }
    await sleep(column.isLost ? PAUSE : pause, signal);
  }
}

function events(column, signal) {
  const source = new EventSource(column.url("sse", { after: column.newest }));
  source.onopen = () => column.connected(Date.now());
  source.onmessage = (event) => column.receive(event.lastEventId, event.data);
  source.addEventListener("gap", (event) => column.gap(Number(event.data) || null));
  source.onerror = () => column.lost(); // it comes back by itself, with Last-Event-ID
  signal.addEventListener("abort", () => source.close());
}

function webSocket(column, signal, again = false) {
  const after = again && !column.resumes ? {} : { after: column.newest };
  const socket = new WebSocket(column.url("ws", after).replace(/^http/, "ws"));
  const stop = () => hangUp(socket);
  signal.addEventListener("abort", stop);
  socket.onopen = () => column.connected("after" in after ? Date.now() : 0);
  socket.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if ("gap" in message) column.gap(message.gap);
    else column.receive(message.id, message.data);
  };
  socket.onclose = async () => {
    signal.removeEventListener("abort", stop);
    if (signal.aborted) return;
    column.lost();
    await sleep(PAUSE, signal);
    if (!signal.aborted) webSocket(column, signal, true);
  };
}

function sleep(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener("abort", done);
    function done() {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    }
  });
}
