// What is wrong and does not count, because somebody knows of it, does not want to hear of it, or it is over already;
// and streams that are closed. All of it looks cleared: grey, with a word of its own.

import { count, time } from "./format.js";
import { isSilent } from "./parts.js";
import { serverNow } from "./state.js";

const WORDS = { acknowledged: "known", muted: "muted", clearing: "over" };

/** Returns [level, word] of what a badge shows of an alert, a stream, a receiver or a process; word: null for its own. */
export function shownAs(shown) {
  const { level, quiet = null, closed_at = null } = shown;
  if (quiet !== null) return ["quiet", WORDS[quiet]];
  if (level === "good" && closed_at !== null) return ["quiet", "closed"];
  return [isSilent(shown) ? "silent" : level, null];
}

/** Returns how to call somebody who has shown the token without a name, or none. */
export const whom = (by, nameless = "Somebody") => (["no token", "API token"].includes(by) ? nameless : by);

/** Returns who has closed a stream and when, and what came all the same; nothing of an open one. */
export function closedWords({ closed_at, closed_by, reads_since_closed }) {
  if (closed_at === null) return "";
  const since = `Closed by ${whom(closed_by, "somebody")}, ${time(closed_at, serverNow())}`;
  return reads_since_closed ? `${since} · ${count(reads_since_closed, "read")} since: stored and delivered` : since;
}

/** Returns what was said of an alert, by whom and why; nothing where nobody has said anything. */
export function answerWords({ acknowledged, muted }) {
  const now = serverNow();
  if (muted !== null) return `Muted until ${time(muted.until, now)} by ${whom(muted.by, "somebody")}: ${muted.reason}`;
  if (acknowledged === null) return "";
  const why = acknowledged.reason === null ? "" : `: ${acknowledged.reason}`;
  return `${whom(acknowledged.by)} knows of it since ${time(acknowledged.at, now)}${why}`;
}
