// Work in pieces: whatever is long goes on in the next task when it has held the page for a few milliseconds, so that a
// touch or a key is answered meanwhile.

import { place } from "./dom.js";

const AT_A_TIME_MS = 8;

const nextTask = () =>
  globalThis.scheduler?.yield ? scheduler.yield() : new Promise((go) => setTimeout(go, 0));

/**
 * Returns what `keyed` of dom.js does, for many and costly items: a list that comes while the one before is still being
 * shown takes its place, and what that has done already stays done.
 */
export function keyedInPieces(parent, { key, make }) {
  const parts = new Map();
  let turn = 0;
  const partOf = (item) => {
    const name = key(item);
    if (!parts.has(name)) parts.set(name, make(item));
    return parts.get(name);
  };
  const drop = (wanted) => {
    for (const [name, part] of parts) {
      if (wanted.has(name)) continue;
      part.node.remove();
      parts.delete(name);
    }
  };
  return async (items) => {
    const mine = ++turn;
    drop(new Set(items.map(key)));
    let at = parent.firstElementChild;
    let until = performance.now() + AT_A_TIME_MS;
    for (const item of items) {
      const part = partOf(item);
      part.update?.(item);
      if (part.node === at) at = at.nextElementSibling;
      else place(parent, part.node, at);
      if (performance.now() < until) continue;
      await nextTask();
      if (mine !== turn) return;
      until = performance.now() + AT_A_TIME_MS;
    }
  };
}

/** Returns a function that calls others, as many in one task as it has time for; called again, it begins anew. */
export function inTurns(steps) {
  let turn = 0;
  return async () => {
    const mine = ++turn;
    let until = performance.now() + AT_A_TIME_MS;
    for (const step of steps) {
      step();
      if (performance.now() < until) continue;
      await nextTask();
      if (mine !== turn) return;
      until = performance.now() + AT_A_TIME_MS;
    }
  };
}
