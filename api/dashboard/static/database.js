// The database and its disk: what waits to be stored, and how much room there is.

import { h } from "./dom.js";
import { NONE, bytes, count, duration, ms, number } from "./format.js";
import { badge, fact } from "./parts.js";
import { shownAs } from "./quiet.js";
import { state } from "./state.js";

const FACTS = {
  "Waits to be stored": (d) => [d.waiting_parts ? `${count(d.waiting_parts, "batch", "batches")}` : "nothing"],
  "Oldest waits for": (d) => [d.waiting_parts ? duration(d.waiting_s) : NONE],
  Size: (d) => [bytes(d.size_bytes)],
  "Free on its disk": (d) => [d.free_bytes === null ? "unknown: look where Postgres runs" : bytes(d.free_bytes)],
  Connections: (d) => [`${number(d.connections)} of ${number(d.connections_max)}`],
  "A query takes": (d) => [ms(d.answer_ms)],
  // Of the writers: until a read is on the disk, and at standbys that must have it.
  "A commit takes": (d) => [d.commit_ms === null ? "nothing stored lately" : ms(d.commit_ms)],
};

/** Returns {node, update()}. */
export function databaseCard() {
  const level = badge();
  const facts = Object.entries(FACTS).map(([label, read]) => ({ ...fact(label), read }));
  const list = h(
    "dl",
    { class: "facts many" },
    facts.map((each) => each.node),
  );
  const node = h("div", { class: "card" }, h("div", { class: "card-top" }, level.node), list);
  let shown = null;
  const update = () => {
    if (state.database === shown || state.database === null) return;
    shown = state.database;
    level.update(...shownAs(shown));
    node.dataset.level = shownAs(shown)[0];
    for (const each of facts) each.set(...each.read(shown));
  };
  return { node, update };
}
