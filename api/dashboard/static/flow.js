// How far each receiver is behind in each stream that it follows.

import { h } from "./dom.js";
import { NONE, duration, number, streamName } from "./format.js";
import { badge, empty } from "./parts.js";
import { shownAs } from "./quiet.js";
import { rows } from "./rows.js";
import { state } from "./state.js";

/** Returns {node, update()}. */
export function flowTable() {
  const table = rows(COLUMNS, {
    label: "Receivers",
    kind: "flow",
    key: (row) => `${row.receiver_id} ${row.stream_id}`,
  });
  const none = empty(
    "No receiver yet.",
    h(
      "p",
      {},
      "One appears when it connects. ",
      h("a", { href: "#/devices" }, "Make a token for it"),
      " if it has none.",
    ),
  );
  const node = h("div", {}, table.node, none);
  const update = () => {
    const all = [...state.flow.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([, each]) => each);
    table.update(all);
    table.node.hidden = all.length === 0;
    none.hidden = all.length > 0;
  };
  return { node, update };
}

function level() {
  const made = badge();
  return { node: made.node, update: (row) => made.update(...shownAs(row)) };
}

const nameOf = (stream_id) => {
  const card = state.streams.get(stream_id);
  return card ? streamName(card) : stream_id;
};

const link = (row) => {
  if (!row.connected) return "gone";
  return row.subscribed ? "connected" : "connected, not subscribed";
};

const COLUMNS = [
  { title: "State", kind: "tight", part: level },
  { title: "Receiver", kind: "strong", text: (row) => row.receiver_id },
  { title: "Stream", text: (row) => nameOf(row.stream_id) },
  { title: "Link", text: link },
  { title: "Reads behind", kind: "right num", text: (row) => number(row.behind) },
  {
    title: "Time behind",
    kind: "right num",
    text: (row) => (row.behind_seconds === null ? NONE : duration(row.behind_seconds)),
  },
];
