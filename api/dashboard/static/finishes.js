// Who comes in, as the announcer tells operators: told at once, and to be loaded anew when it says so or when something
// may have been missed.

import { onEvent } from "./state.js";

const RETRY_MS = 5000;

/** Returns {refresh(), close()}. came({row, finisher_count}): somebody has come in; anew(): load all that there is. */
export function finishes({ came, anew }) {
  let source = null;
  let triedAt = -Infinity;

  function open() {
    source?.close();
    triedAt = performance.now();
    source = new EventSource("api/v1/announcer/events");
    for (const name of ["open", "resync"]) source.addEventListener(name, anew);
    source.addEventListener("announcer_update", ({ data }) => came(JSON.parse(data)));
  }

  // A browser opens by itself what was lost, not what was refused.
  function refresh() {
    const none = source === null || source.readyState === EventSource.CLOSED;
    if (none && performance.now() - triedAt > RETRY_MS) open();
  }

  // The page has given its process up, and this one hangs at the same.
  const stop = onEvent(({ type }) => type === "resync" && open());
  refresh();
  const close = () => [stop, () => source.close()].forEach((each) => each());
  return { refresh, close };
}
