// The database and its disk: what waits to be stored, and how much room there is.

import { h } from "./dom.js";
import { bytes, count, duration, number } from "./format.js";
import { badge, fact } from "./parts.js";
import { shownAs } from "./quiet.js";
import { state } from "./state.js";

const FACTS = {
  "Waits to be stored": (d) => [d.waiting_parts ? `${count(d.waiting_parts, "batch", "batches")}` : "nothing"],
  "Oldest waits for": (d) => [d.waiting_parts ? duration(d.waiting_s) : "–"],
  Size: (d) => [bytes(d.size_bytes)],
  "Free on its disk": (d) => [d.free_bytes === null ? "not known here" : bytes(d.free_bytes)],
  Connections: (d) => [`${number(d.connections)} of ${number(d.connections_max)}`],
  "Answers within": (d) => [`${Math.ceil(d.answer_ms)} ms`],
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
