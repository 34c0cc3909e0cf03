// Dialogs: opened with what they say, closed with what was chosen.

/** An element with a text; text never becomes markup. */
export function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

/** Show a dialog; gives with which value it was closed, at once: its "close" event comes late, when the next key may have been pressed. */
export function shown(dialog) {
  dialog.returnValue = "";
  return new Promise((resolve) => {
    const closing = new MutationObserver(() => {
      if (dialog.open) return;
      closing.disconnect();
      resolve(dialog.returnValue);
    });
    dialog.showModal();
    closing.observe(dialog, { attributeFilter: ["open"] });
  });
}

/**
 * Open a dialog; `confirm` runs when it is sent, and a refusal of it is shown in the dialog, which then stays open.
 * What is on its way cannot be called back: until it is answered, nothing closes the dialog.
 */
export function openDialog(id, { confirm, focus } = {}) {
  const dialog = document.getElementById(id);
  const form = dialog.querySelector("form");
  const error = dialog.querySelector(".error");
  if (error) error.textContent = "";
  let done = false;
  let running = null;
  const send = async () => {
    waiting(dialog, true);
    try {
      done = await confirm();
    } catch (refusal) {
      error.textContent = refusal.message;
      return;
    } finally {
      running = null;
      waiting(dialog, false);
    }
    dialog.close();
  };
  form.onsubmit = (event) => {
    if (!confirm) return;
    event.preventDefault();
    if (running) return;
    if (error) error.textContent = "";
    running = send();
  };
  dialog.oncancel = (event) => { if (running) event.preventDefault(); };
  // Escape pressed twice closes a dialog whatever its cancel event was told.
  dialog.onkeydown = (event) => { if (running && event.key === "Escape") event.preventDefault(); };
  for (const button of dialog.querySelectorAll("[data-cancel]")) button.onclick = () => { if (!running) dialog.close(); };
  const closed = shown(dialog);
  focus?.focus();
  return closed.then(() => running).then(() => done);
}

/** Show that an answer is awaited. Buttons keep the focus: one that is disabled loses it, and with it every key. */
function waiting(dialog, on) {
  dialog.setAttribute("aria-busy", String(on));
  for (const button of dialog.querySelectorAll("button")) {
    if (on) button.setAttribute("aria-disabled", "true");
    else button.removeAttribute("aria-disabled");
  }
}

/** Ask whether something is meant. Leaving is first, so that a key pressed too often does nothing. */
export function sure(text) {
  const dialog = document.getElementById("ask-dialog");
  dialog.querySelector("p").textContent = text;
  return openDialog("ask-dialog", { confirm: async () => true, focus: dialog.querySelector("[data-cancel]") });
}
