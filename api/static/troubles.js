// What needs a look: what it is, since when, what to do; and what has been cured, with how long it took.

import { h, keyed, setText } from "./dom.js";
import { count, duration, secondsSince, time, withTimes } from "./format.js";
import { badge, empty } from "./parts.js";
import { serverNow, state } from "./state.js";

/** Returns {node, update()}. */
export function troubleList() {
  const list = h("ul", { class: "troubles" });
  const calm = empty("Nothing needs a look.");
  const cured = h("ul", { class: "troubles cured" });
  const summary = h("summary", {});
  const history = h("details", {}, summary, cured);
  const showOpen = keyed(list, { key: (each) => each.trouble_id, make: trouble });
  const showCured = keyed(cured, { key: (each) => each.trouble_id, make: trouble });
  const node = h("div", {}, list, calm, history);
  const update = () => {
    const open = state.troubles.filter((each) => each.ended_at === null);
    const ended = state.troubles.filter((each) => each.ended_at !== null);
    showOpen(open);
    showCured(ended);
    calm.hidden = open.length > 0;
    history.hidden = ended.length === 0;
    setText(summary, `${count(ended.length, "cured trouble")}`);
  };
  return { node, update };
}

const PAGES = {
  stream: (each) => `#/stream/${each.stream_id ?? each.subject_id}`,
  forwarder: () => "#/devices",
  receiver: () => "#/devices",
  process: () => "#/",
  database: () => "#/",
};

function trouble(first) {
  const level = badge();
  const title = h("a", {
    href: first.signal === "conflict" ? "#/conflicts" : PAGES[first.subject_kind](first),
  });
  const reason = h("span", { class: "reason" });
  const since = h("p", { class: "since num" });
  const advice = h("p", { class: "advice" });
  const node = h(
    "li",
    { class: "trouble" },
    level.node,
    h("div", {}, h("p", { class: "what" }, reason, " ", title), advice),
    since,
  );
  const update = (each) => {
    level.update(each.level);
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
