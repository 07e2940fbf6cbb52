// What needs a look: what it is, since when, what to do, and buttons for it; what is known or muted behind that; and what
// has been resolved, with how long it took. One cause is one entry: the worst and oldest of it, with the others in it.

import { alertActions } from "./alert-actions.js";
import { alertAnswers, unmuteButton } from "./alert-answers.js";
import { h, keyed, setAttribute, setText } from "./dom.js";
import { count, duration, secondsSince, time, withTimes } from "./format.js";
import { badge, empty } from "./parts.js";
import { keyedInPieces } from "./pieces.js";
import { shownAs, whom } from "./quiet.js";
import { serverNow, state } from "./state.js";

/** Returns {node, update()}. */
export function alertList() {
  // One list: what is answered only moves to its end, and keeps the focus.
  const list = h("ul", { class: "alerts" });
  const cleared = empty("Nothing needs a look.");
  const mutes = h("ul", { class: "alerts" });
  const muted = h("details", {}, h("summary", {}), mutes);
  const resolved = h("ul", { class: "alerts resolved" });
  const history = h("details", {}, h("summary", {}), resolved);
  const showOpen = keyedInPieces(list, { key: (each) => each.trouble_id, make: causeRow });
  const showMutes = keyed(mutes, { key: (each) => `${each.alert_id} ${each.at}`, make: mute });
  const showResolved = keyedInPieces(resolved, { key: (each) => each.trouble_id, make: alertRow });
  const node = h("div", {}, cleared, list, muted, history);
  const update = () => {
    const open = state.troubles.filter((each) => each.ended_at === null);
    const ended = state.troubles.filter((each) => each.ended_at !== null);
    showOpen(byCause(open));
    showMutes(state.mutes);
    showResolved(ended);
    cleared.hidden = open.some((each) => each.quiet === null);
    muted.hidden = state.mutes.length === 0;
    history.hidden = ended.length === 0;
    setText(muted.firstChild, `${count(state.mutes.length, "condition")} muted`);
    setText(history.firstChild, `${count(ended.length, "resolved alert")}`);
  };
  return { node, update };
}

function mute(first) {
  const level = badge();
  level.update("quiet", "muted");
  const what = h("p", { class: "what" }, `${first.condition} · ${first.title}`);
  const why = h("p", { class: "answer" }, `${whom(first.by)}: ${first.reason}`);
  const until = h("p", { class: "since num" }, `until ${time(first.until, serverNow())}`);
  return {
    node: h(
      "li",
      { class: "alert", "data-quiet": "muted" },
      level.node,
      h("div", {}, what, why, h("div", { class: "buttons" }, unmuteButton(first))),
      until,
    ),
  };
}

const PAGES = {
  stream: (each) => `#/stream/${each.stream_id ?? each.subject_id}`,
  forwarder: () => "#/devices",
  receiver: () => "#/devices",
  process: () => "#/",
  database: () => "#/",
  point: ({ subject_id }) => `#/race/${subject_id.split("/")[0]}`,
};

// What does not count stands apart from what does, whatever its cause.
function byCause(open) {
  const causes = new Map();
  for (const each of open) {
    // An api process of the release before knows none.
    const key = `${each.quiet === null} ${each.cause ?? each.trouble_id}`;
    if (causes.has(key)) causes.get(key).others.push(each);
    else causes.set(key, { ...each, others: [] });
  }
  return [...causes.values()];
}

/** A cause: its first alert, and the others folded below it. */
function causeRow(first) {
  const row = alertRow(first);
  const list = h("ul", { class: "alerts" });
  const more = h("details", { class: "same-cause" }, h("summary", {}), list);
  const show = keyedInPieces(list, { key: (each) => each.trouble_id, make: alertRow });
  row.node.append(more);
  const update = (each) => {
    row.update(each);
    more.hidden = each.others.length === 0;
    setText(more.firstChild, `${count(each.others.length, "more alert")} of the same cause`);
    show(each.others);
  };
  return { node: row.node, update };
}

function alertRow(first) {
  const level = badge();
  const title = h("a", {
    href: first.actions.includes("open_conflicts") ? "#/conflicts" : PAGES[first.subject_kind](first),
  });
  const reason = h("span", { class: "reason" });
  const since = h("p", { class: "since num" });
  const advice = h("p", { class: "advice" });
  const answers = alertAnswers(first);
  const acts = alertActions(first.ended_at === null ? first : { actions: [] });
  const buttons = h("div", { class: "buttons" }, answers.buttons, acts.buttons);
  const node = h(
    "li",
    { class: "alert" },
    level.node,
    h("div", {}, h("p", { class: "what" }, reason, " ", title), advice, answers.node, buttons),
    since,
  );
  const update = (each) => {
    level.update(...shownAs(each));
    setAttribute(node, "data-quiet", each.quiet);
    answers.update(each);
    acts.update(each);
    // What is over needs nobody.
    buttons.hidden = each.ended_at !== null;
    setText(title, each.title);
    setText(reason, withTimes(each.reason, serverNow()));
    setText(advice, each.advice);
    const now = serverNow();
    setText(
      since,
      each.ended_at === null
        ? `for ${duration(secondsSince(each.since, now))}`
        : `${time(each.since, now)}, took ${duration(each.duration_s)}`,
    );
  };
  return { node, update };
}
