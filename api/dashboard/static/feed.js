// The newest reads that pass a filter, kept up to date. The event stream brings the newest of each second, and says how
// many it has left out: those are asked for only where someone has chosen a stream or a chip and wants them all.

import { ask, path } from "./http.js";
import { onEvent } from "./state.js";

// What is asked for is a whole request each time, for which a phone pays more than for the reads in it.
const AT_MOST_EVERY_MS = 3000;

/** What tells a read from all others. */
export const readKey = (read) => `${read.stream_id} ${read.stream_epoch} ${read.seq}`;

/** The order in which reads came in, the newest first. */
export const newestFirst = (a, b) =>
  Date.parse(b.received_at) - Date.parse(a.received_at) || b.stream_epoch - a.stream_epoch || b.seq - a.seq;

/** Returns reads with others that some of them may be, in an order, at most so many. */
export function merged(reads, more, { order, most }) {
  const all = new Map([...reads, ...more].map((read) => [readKey(read), read]));
  return [...all.values()].sort(order).slice(0, most);
}

const byChip = ({ tag_id }, wanted) => !wanted.tag_id || tag_id === wanted.tag_id.toLowerCase();

/**
 * Returns {reads(), skipped(), cut(), refresh(), restart(), close()}. cut(): of long lines fewer came than would be
 * shown. wanted() is the filter, {stream_id, stream_ids, tag_id}, each of
 * them empty for all; stream_ids: several with commas between them; changed(came) is called when there are other reads, with how many have come, failed(error) when they could not be had. Who has
 * those of before from elsewhere says what to do when some may have been missed: again(). means(read, wanted): whether a
 * read is of whom the filter means, where that is more than a chip.
 */
export function feed({ wanted, most, changed, failed, again = null, means = byChip }) {
  let reads = [];
  let skipped = 0;
  let cut = false;
  let cursor = null;
  let stale = again === null;
  let turn = 0;
  let busy = false;
  let askedAt = -Infinity;

  const isChosen = () => Object.values(wanted()).some(Boolean);

  function restart() {
    turn += 1;
    [reads, stale, cursor, skipped, cut, askedAt] = [reads.filter(passes), again === null, null, 0, false, -Infinity];
    refresh();
  }

  async function refresh() {
    if (busy || !stale || performance.now() - askedAt < AT_MOST_EVERY_MS) return;
    const mine = turn;
    [busy, stale, askedAt] = [true, false, performance.now()];
    try {
      const answer = await ask("GET", path(["reads", "latest"], { ...wanted(), limit: most, after: cursor }));
      if (mine === turn) take(answer);
    } catch (error) {
      stale = true;
      if (mine === turn) failed(error);
    }
    busy = false;
    if (mine !== turn) refresh();
  }

  function take({ reads: found, cursor: next, cut: isCut }) {
    [cursor, cut] = [next, isCut];
    // Behind the last of an answer that is cut there are others, which are not here: what is older than that goes.
    if (isCut) reads = reads.filter((read) => newestFirst(read, found.at(-1)) <= 0);
    reads = merged(reads, found.filter(passes), { order: newestFirst, most });
    changed();
  }

  function passes(read) {
    const { stream_id, stream_ids } = wanted();
    const isThere = (!stream_id || read.stream_id === stream_id) && (!stream_ids || stream_ids.includes(read.stream_id));
    return isThere && means(read, wanted());
  }

  const close = onEvent((event) => {
    if (event.type === "resync") (again ?? restart)();
    if (event.type !== "changed") return;
    // What is shown may be somebody else's by now.
    if (event.races_changed) (again ?? restart)();
    if (event.reads_skipped) {
      skipped += event.reads_skipped;
      stale ||= isChosen();
    }
    const found = (event.reads ?? []).filter(passes);
    if (!found.length) return;
    reads = merged(reads, found, { order: newestFirst, most });
    changed(found.length);
  });
  return { reads: () => reads, skipped: () => (isChosen() ? 0 : skipped), cut: () => cut && reads.length < most, refresh, restart, close };
}
