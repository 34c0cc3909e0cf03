// Pictures of a case: each is fetched once, and kept as long as the page is open.

import { Refusal, words } from "./base.js";

const kept = new Map();

/** Where the service has a picture. */
function address(image, slice) {
  const query = slice === null ? "" : "?slice=" + slice;
  return "/api/v1/cases/" + image.case + "/images/" + image.place + "/shown" + query;
}

async function fetched(url) {
  let reply;
  try {
    reply = await fetch(url, { credentials: "same-origin" });
  } catch {
    throw new Refusal(0, { error: words.no_connection, reason: "no_connection" });
  }
  if (reply.ok) return reply;
  throw new Refusal(reply.status, await reply.json().catch(() => ({ error: String(reply.status), reason: "failed" })));
}

function once(url, make) {
  if (!kept.has(url)) {
    const made = fetched(url).then(make);
    made.catch(() => kept.delete(url)); // it may be there next time
    kept.set(url, made);
  }
  return kept.get(url);
}

/** A picture as a browser shows it: a blob's address; and how many slices its file has. */
export function picture(image, slice = null) {
  return once(address(image, slice), async (reply) => ({
    url: URL.createObjectURL(await reply.blob()),
    slices: Number(reply.headers.get("X-Slices") ?? 1),
  }));
}

/** The heat map of a finding, colored: from nothing at all by blue and yellow to white; as large as it was sent. */
export function heatOf(image, target) {
  return once("/api/v1/cases/" + image.case + "/images/" + image.place + "/heat?target=" + target, async (reply) => {
    const map = await createImageBitmap(await reply.blob());
    const canvas = document.createElement("canvas");
    canvas.width = map.width;
    canvas.height = map.height;
    const context = canvas.getContext("2d");
    context.drawImage(map, 0, 0);
    const shown = context.getImageData(0, 0, map.width, map.height);
    const told = shown.data;
    for (let at = 0; at < told.length; at += 4) {
      const value = told[at] / 255;
      const [red, green, blue] = color(value);
      told[at] = red;
      told[at + 1] = green;
      told[at + 2] = blue;
      told[at + 3] = Math.round(255 * Math.min(1, value * 1.6));
    }
    context.putImageData(shown, 0, 0);
    return canvas;
  });
}

// A retina is red and orange, so that blue, cyan and white stand out; lighter is more, for whoever sees no color.
const _STOPS = [[0, [38, 70, 200]], [0.4, [0, 150, 230]], [0.7, [90, 225, 235]], [1, [255, 255, 255]]];

function color(value) {
  const place = Math.max(1, _STOPS.findIndex(([at]) => value <= at));
  const [low, from] = _STOPS[place - 1];
  const [high, to] = _STOPS[place];
  const share = (value - low) / (high - low);
  return from.map((channel, index) => Math.round(channel + share * (to[index] - channel)));
}
