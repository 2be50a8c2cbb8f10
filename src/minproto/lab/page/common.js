// What several tabs use.

export const byId = (id) => document.getElementById(id);

/** Have a button do its work, one at a time. Meanwhile it is not `disabled`, or who uses the keyboard would lose their place. */
export function onPress(button, work) {
  button.onclick = async () => {
    if (button.ariaDisabled === "true") return;
    button.ariaDisabled = "true";
    try {
      await work();
    } finally {
      button.ariaDisabled = "false";
    }
  };
}

/** Close a WebSocket; one that is not open yet, when it is, for otherwise the browser complains. */
export function hangUp(socket) {
  if (socket.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close();
  else socket.close();
}

/** Milliseconds, for people. */
export function duration(milliseconds) {
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}
