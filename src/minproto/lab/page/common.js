// What several tabs use.

export const byId = (id) => document.getElementById(id);

/** An element with these properties and children. */
export function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

/** Have a button do its work, one at a time. Meanwhile it is not `disabled`, or who uses the keyboard would lose their place. */
export function onPress(button, work) {
  press.buttons.add(button);
  button.onclick = async () => {
    if (button.ariaDisabled === "true") return;
    button.ariaDisabled = "true";
    try {
      await work();
    } finally {
      button.ariaDisabled = String(!press.allowed);
    }
  };
}

/** Whether these buttons can do anything: without the lab they can't, and look like that. */
export const press = {
  buttons: new Set(),
  allowed: true,
  allow(allowed) {
    press.allowed = allowed;
    for (const button of press.buttons) button.ariaDisabled = String(!allowed);
  },
};

/** Close a WebSocket; one that is not open yet, when it is, for otherwise the browser complains. */
export function hangUp(socket) {
  if (socket.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close();
  else socket.close();
}

/** Milliseconds, for people. */
export function duration(milliseconds) {
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}
