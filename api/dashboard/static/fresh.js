// What a part of the page asks for by itself: again when something has changed, and again where it failed.

import { h } from "./dom.js";
import { failure } from "./parts.js";

// What is asked for is a whole request each time, however often something changes.
const AT_MOST_EVERY_MS = 2000;

/**
 * Returns {said, mark(), hurry(), again(), refresh()}. load() asks and shows, and throws what went wrong: `said` tells
 * that until it goes well, and refresh(), which is called every second, asks again. mark(): what is shown is old, and
 * may be for `everyMs`. hurry(): it is wrong. again(): now; what is shown behind it was asked for behind it. passes(error):
 * whether asking again may go well; else only again() does.
 */
export function fresh(load, { everyMs = AT_MOST_EVERY_MS, passes = () => true } = {}) {
  const said = h("div");
  let stale = true;
  // The load that is under way.
  let running = null;
  let askedAt = -Infinity;
  let waitMs = everyMs;

  async function refresh() {
    if (!stale || running || performance.now() - askedAt < waitMs) return;
    running = loaded();
    await running;
  }

  async function loaded() {
    // What changes from here on may not be in the answer.
    [stale, askedAt, waitMs] = [false, performance.now(), everyMs];
    try {
      await load();
      said.replaceChildren();
    } catch (error) {
      if (passes(error)) hurry();
      tell(error);
    }
    running = null;
  }

  // The same words a second time are nobody's news.
  function tell(error) {
    if (said.textContent !== error.message) said.replaceChildren(failure(error));
  }

  const mark = () => (stale = true);
  const hurry = () => ([stale, waitMs] = [true, AT_MOST_EVERY_MS]);
  // A load that is under way may have asked before what this is about. Of several who wait for it the first loads for all.
  async function again() {
    if (running) await running;
    if (!running) {
      [stale, askedAt] = [true, -Infinity];
      refresh();
    }
    await running;
  }
  return { said, mark, hurry, again, refresh };
}
