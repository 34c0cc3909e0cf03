// What an opinion still lacks before it can be signed: all of it at once, each with the place where it is mended.

/** @returns {{text: string, place: string}[]} in the order of the form */
export function missing(opinion, grading, told, words) {
  const found = [];
  const named = (key) => {
    const [part, eye] = key.split("/");
    return words[eye] + (told.parts.length > 1 ? " " + words[part] : "");
  };
  if (told.held.length) found.push({ text: words.miss_held, place: "" });
  for (const key of grading.keys) {
    const eye = opinion.eyes[key];
    const first = grading.of(key)[0].querySelector("input");
    if (!eye) found.push({ text: words.miss_verdict.replace("{eye}", () => named(key)), place: first });
    else if (grading.why(key, eye) && !eye.reason.trim()) {
      found.push({ text: words.miss_reason.replace("{eye}", () => named(key)), place: document.getElementById("why-" + key) });
    }
  }
  const conclusion = document.getElementById("conclusion");
  const written = opinion.conclusion.trim();
  if (told.report) {
    for (const name of told.texts) {
      if (!grading.settled(opinion.texts[name])) {
        found.push({ text: words.miss_text.replace("{field}", () => words.answered[name]), place: document.getElementById("text-" + name) });
      }
    }
  } else if (!written) found.push({ text: words.miss_conclusion, place: conclusion });
  // Written from grades that were changed since: it would say of an eye what is no longer said of it.
  if (written && written === grading.concluded?.trim() && written !== grading.concluding().trim()) {
    found.push({ text: words.miss_regrade, place: conclusion });
  }
  return found;
}
