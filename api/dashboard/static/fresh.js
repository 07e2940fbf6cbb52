// What a part of the page asks for by itself: again when something has changed, and again where it failed.

import { h } from "./dom.js";
import { failure } from "./parts.js";

// What is asked for is a whole request each time, however often something changes.
const AT_MOST_EVERY_MS = 2000;

/**
 * Returns {said, mark(), hurry(), again(), refresh()}. load() asks and shows, and throws what went wrong: `said` tells
 * that until it goes well, and refresh(), which is called every second, asks again. mark(): what is shown is old, and
 * may be for `everyMs`. hurry(): it is wrong. again(): now.
 */
export function fresh(load, { everyMs = AT_MOST_EVERY_MS } = {}) {
  const said = h("div");
  let stale = true;
  let busy = false;
  let askedAt = -Infinity;
  let waitMs = everyMs;

  async function refresh() {
    if (!stale || busy || performance.now() - askedAt < waitMs) return;
    // What changes from here on may not be in the answer.
    [stale, busy, askedAt, waitMs] = [false, true, performance.now(), everyMs];
    try {
      await load();
      said.replaceChildren();
    } catch (error) {
      hurry();
      tell(error);
    }
    busy = false;
  }

  // The same words a second time are nobody's news.
  function tell(error) {
    if (said.textContent !== error.message) said.replaceChildren(failure(error));
  }

  const mark = () => (stale = true);
  const hurry = () => ([stale, waitMs] = [true, AT_MOST_EVERY_MS]);
  const again = () => {
    [stale, askedAt] = [true, -Infinity];
    return refresh();
  };
  return { said, mark, hurry, again, refresh };
}
