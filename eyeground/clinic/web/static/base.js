// What every page's script uses: how it asks the service, keys, words for the screen reader, signing out.

export const words = JSON.parse(document.getElementById("words").textContent);
const said = (name) => document.querySelector(`meta[name="${name}"]`)?.content ?? "";
let csrf = said("csrf");

/** What the service said no to: `status`, `reason`, and all that it told. */
export class Refusal extends Error {
  constructor(status, told) {
    super(told.error);
    this.status = status;
    this.reason = told.reason;
    this.told = told;
  }
}

/** Ask the service; gives what it answers, throws a Refusal. `stay` where signing in anew would drive unsaved work away. */
export async function ask(method, path, body, { stay = false } = {}) {
  try {
    return await askOnce(method, path, body, stay);
  } catch (refusal) {
    if (refusal.reason !== "not_meant") throw refusal;
    // Signed in anew in another tab: this page goes on with that session, if it is the same person's.
    const now = await askOnce("GET", "/session", undefined, stay);
    if (now.account !== said("account")) throw new Refusal(403, { error: words.somebody_else, reason: "somebody_else" });
    csrf = now.csrf;
    return askOnce(method, path, body, stay);
  }
}

async function askOnce(method, path, body, stay) {
  const language = document.documentElement.lang.slice(0, 2);
  const headers = { "X-CSRF-Token": csrf, Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let reply;
  try {
    reply = await fetch(path + (path.includes("?") ? "&" : "?") + "lang=" + language, {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body), credentials: "same-origin",
    });
  } catch {
    throw new Refusal(0, { error: words.no_connection, reason: "no_connection" });
  }
  let told;
  try {
    told = await reply.json();
  } catch {
    // Whatever answered, and with whatever status, it was not the service: a proxy, a portal, half an answer.
    throw new Refusal(0, { error: words.no_connection, reason: "no_connection" });
  }
  if (reply.ok) return told;
  if (!stay && reply.status === 401 && told.reason === "unauthorized") {
    location.assign("/sign-in?next=" + encodeURIComponent(location.pathname + location.search));
  }
  throw new Refusal(reply.status, told);
}

/** Say something to those who do not see the screen. */
export function speak(text) {
  const place = document.getElementById("spoken");
  place.textContent = "";
  requestAnimationFrame(() => { place.textContent = text; });
}

/** Call functions by key, where nobody is typing and no dialog is open. */
export function onKeys(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (document.querySelector("dialog[open]")) return;
    const typing = event.target.closest?.("input:not([type=checkbox]):not([type=radio]), textarea, select");
    // A dialog that was just closed may still have the focus.
    if (typing && !typing.closest("dialog")) {
      if (event.key === "Escape") typing.blur();
      return;
    }
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action(event);
  });
}

/** The dialog that lists the keys, opened with ? and closed with Escape. */
export function helpDialog() {
  const dialog = document.getElementById("help");
  if (!dialog) return;
  const open = () => dialog.showModal();
  onKeys({ "?": open });
  for (const each of document.querySelectorAll("[data-help]")) each.addEventListener("click", open);
  dialog.querySelector("[data-close]")?.addEventListener("click", () => dialog.close());
}

document.getElementById("sign-out")?.addEventListener("click", async () => {
  await ask("POST", "/sign-out").catch(() => undefined);
  location.assign("/sign-in");
});
helpDialog();
