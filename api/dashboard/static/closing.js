// Closing streams: nobody expects a read of them any more. And opening them again.

import { askFirst, say } from "./dialog.js";
import { h } from "./dom.js";
import { count, moment, streamName, typed, zoneNow } from "./format.js";
import { ask, path } from "./http.js";
import { field } from "./parts.js";
import { whom } from "./quiet.js";
import { serverNow, state } from "./state.js";

const MEANING =
  "Nobody waits for its reads any more: no alert when it is silent. A read that comes all the same is stored and " +
  "delivered as ever, and said here.";

/** Asks, and closes a stream. */
export async function closeStream({ stream_id, title }) {
  const now = () => state.streams.get(stream_id);
  const stream = await askFirst(`Close ${title}`, {
    body: h("p", {}, MEANING),
    verb: "Close stream",
    gone: () => (now()?.closed_at ? `${whom(now().closed_by)} has closed it already.` : null),
    act: () => ask("PATCH", path(["streams", stream_id]), { body: { closed: true, expected_closed: false } }),
  });
  if (stream) say(`${streamName(stream)} is closed.`);
}

/** Asks, and closes a point of a race; subject_id: the race and its place. `expected`: what else must be so. */
export async function closePoint({ subject_id, title, expected = {} }) {
  const course = await askFirst(`Close ${title}`, {
    body: h("p", {}, "Nobody is expected there any more in this race: no alert when it is silent. What is read all the same is stored, delivered and counted as ever."),
    verb: "Close point",
    act: () => switchPoint(subject_id, { closed: true, expected_closed: false, ...expected }),
  });
  if (course) say(`${title} is closed.`);
  return course;
}

/** Opens a point of a race again. */
export async function openPoint({ subject_id, title, expected = {} }) {
  try {
    // Also one that was closed by its time.
    await switchPoint(subject_id, { closed: false, closes_at: null, ...expected });
    say(`${title} is open again.`);
  } catch (error) {
    say(error.message);
  }
}

/** Asks from when on nobody is expected at a point. */
export async function closePointAt({ subject_id, title, expected = {} }, closes_at) {
  const input = h("input", { name: "at", type: "datetime-local", step: 1, value: typed(closes_at) });
  const shown = input.value;
  await askFirst(`When ${title} closes`, {
    body: h("p", {}, "From then on nobody is expected there: no alert when it is silent."),
    controls: { at: field("Closes at", input, { hint: `${zoneNow(serverNow()).said}. Empty: when somebody closes it.` }) },
    verb: "Save",
    act: ({ at }) => at === shown || switchPoint(subject_id, { closes_at: moment(at) || null, ...expected }),
  });
}

function switchPoint(subject_id, body) {
  const [race_id, place] = subject_id.split("/");
  return ask("PATCH", path(["races", race_id, "points", place]), { body });
}

/** Opens a stream again. */
export async function openStream({ stream_id }) {
  try {
    const body = { closed: false, expected_closed: true };
    say(`${streamName(await ask("PATCH", path(["streams", stream_id]), { body }))} is open again.`);
  } catch (error) {
    say(error.message);
  }
}

/** Asks, and closes all streams of a forwarder. */
export async function closeStreams({ forwarder_id, title }) {
  const answer = await askFirst(`Close all streams of ${title}`, {
    body: h("p", {}, MEANING),
    verb: "Close its streams",
    act: () => ask("PATCH", path(["forwarders", forwarder_id, "streams"]), { body: { closed: true } }),
  });
  if (answer === undefined) return;
  say(answer.changed ? `${count(answer.changed, "stream")} of ${title} closed.` : "All of them were closed already.");
}

/** Opens all streams of a forwarder again. */
export async function openStreams({ forwarder_id, title }) {
  try {
    const { changed } = await ask("PATCH", path(["forwarders", forwarder_id, "streams"]), { body: { closed: false } });
    say(changed ? `${count(changed, "stream")} of ${title} open again.` : "All of them are open already.");
  } catch (error) {
    say(error.message);
  }
}
