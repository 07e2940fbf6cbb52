// Who runs in a race, as the page has it: a roster of fifty thousand people is megabytes, so it is asked for once, and again
// only where the race says that its people or chips are others by now.

import { ask, path } from "./http.js";

// Nobody looks at more at a time.
const KEPT = 8;
const known = new Map();

/** Resolves to the roster of a race, which is not older than the race is as it is given. */
export async function rosterOf({ race_id, roster_changed_at }) {
  const before = known.get(race_id);
  if (before?.changed_at === roster_changed_at) return before.roster;
  const roster = await ask("GET", path(["races", race_id, "participants"]));
  known.delete(race_id);
  known.set(race_id, { changed_at: roster_changed_at, roster });
  if (known.size > KEPT) known.delete(known.keys().next().value);
  return roster;
}
