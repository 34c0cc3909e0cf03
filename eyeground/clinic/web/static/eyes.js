// Which eye an image shows: every image large, every answer at once, and nothing is done before it is confirmed.

import { ask, speak } from "./base.js";
import { openDialog } from "./dialogs.js";
import { picture } from "./picture.js";

/** @param done - is called when it is decided; `lost` with a refusal. */
export function decideEyes(told, words, { api, version, done, lost }) {
  const dialog = document.getElementById("eyes-dialog");
  const chosen = () => [...dialog.querySelectorAll("input:checked")].map((input) => ({ place: Number(input.dataset.place), eye: input.value }));
  for (const image of dialog.querySelectorAll("[data-large]")) {
    picture({ case: told.id, place: Number(image.dataset.large) }).then(({ url }) => { image.src = url; }, () => undefined);
  }
  dialog.querySelector("form").reset();
  return openDialog("eyes-dialog", {
    confirm: async () => {
      const before = Object.fromEntries(told.images.map((each) => [each.place, each.eye]));
      const eyes = chosen().filter((each) => each.eye !== before[each.place]);
      if (!eyes.length) return false;
      try {
        await ask("POST", api + "/eye", { version: version(), eyes });
      } catch (refusal) {
        if (!["stale", "wrong_state"].includes(refusal.reason)) throw refusal;
        lost(refusal);
        return false;
      }
      speak(words.eye_decided);
      return true;
    },
    focus: document.getElementById("eyes-title"),
  }).then((decided) => { if (decided) done(); });
}
