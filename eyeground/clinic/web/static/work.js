// The work list: moving by keys, numbers that stay right, and a word when the list itself has changed.

import { ask, onKeys, speak } from "./base.js";

const EVERY_MS = 5000;
const told = JSON.parse(document.getElementById("told").textContent);
const cases = [...document.querySelectorAll(".cases .patient a")];
const search = document.getElementById("search");
const news = document.getElementById("news");

function move(by) {
  if (!cases.length) return;
  const at = cases.indexOf(document.activeElement);
  const next = at < 0 ? (by > 0 ? 0 : cases.length - 1) : Math.min(cases.length - 1, Math.max(0, at + by));
  cases[next].focus();
  cases[next].closest("tr").scrollIntoView({ block: "nearest" });
}

onKeys({
  j: () => move(1), k: () => move(-1), ArrowDown: () => move(1), ArrowUp: () => move(-1),
  "/": () => { search.focus(); search.select(); },
  r: () => location.reload(),
});
document.getElementById("reload").addEventListener("click", () => location.reload());
for (const row of document.querySelectorAll(".cases tbody tr")) {
  row.addEventListener("click", (event) => {
    if (event.target.closest("a") || String(getSelection())) return;
    row.querySelector(".patient a").click();
  });
}

function put(selector, number) {
  for (const place of document.querySelectorAll(selector)) place.textContent = number;
}

function tell(text) {
  const place = news.querySelector("span");
  if (!news.hidden && place.textContent === text) return;
  place.textContent = text;
  news.hidden = !text;
  if (text) speak(text);
}

async function count() {
  if (document.hidden) return;
  let now;
  try {
    now = await ask("GET", "/api/v1/counts");
  } catch (refusal) {
    if (refusal.status === 0 || refusal.status >= 500) tell(told.lost);
    return;
  }
  put('[data-count="/work"]', now.work);
  put('[data-count="/signed"]', now.signed_today);
  if (now.dead_letters !== null) put('[data-count="/dead-letters"]', now.dead_letters);
  put("[data-total]", told.today ? now.signed_today : now.work);
  put("[data-urgent]", now.urgent);
  if (told.today) tell(now.signed_today === told.signed ? "" : told.changed);
  else if (now.work > told.work) tell(told.new.replace("{n}", now.work - told.work));
  else tell(now.work === told.work && now.newest === told.newest ? "" : told.changed);
}

function wait() {
  for (const place of document.querySelectorAll("[data-waits]")) {
    const minutes = Math.max(0, Math.floor((Date.now() - Date.parse(place.dateTime)) / 60000));
    const hours = Math.floor(minutes / 60);
    const days = Math.floor(hours / 24);
    place.textContent = days
      ? told.waited.days.replace("{d}", days).replace("{h}", hours % 24)
      : told.waited.hours.replace("{h}", hours).replace("{m}", String(minutes % 60).padStart(2, "0"));
  }
}

setInterval(count, EVERY_MS);
setInterval(wait, 30000);
document.addEventListener("visibilitychange", count);
