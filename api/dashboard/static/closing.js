// Closing streams: nobody expects a read of them any more. And opening them again.

import { askFirst, say } from "./dialog.js";
import { h } from "./dom.js";
import { count, streamName } from "./format.js";
import { ask, path } from "./http.js";
import { whom } from "./quiet.js";
import { state } from "./state.js";

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
