// What is wrong with the chips of a race, told apart: read and in no file, in the file and nobody's, of several bibs.

import { h, setText } from "./dom.js";
import { count } from "./format.js";
import { empty, section } from "./parts.js";
import { rows } from "./rows.js";

const SHOWN = 200;

const KINDS = [
  {
    title: "Unknown: read, and in no file",
    of: (found) => found.unknown,
    more: { title: "Read at", text: (each) => each.streams.join(", ") },
  },
  {
    title: "Of nobody: in the file, with a bib that no person has",
    of: (found) => found.chips_without_participant,
    more: { title: "Bib", kind: "num", text: (each) => String(each.bib) },
  },
  {
    title: "Of several bibs: reads count for the first",
    of: (found) => found.ambiguous_chips,
    more: { title: "Bibs", kind: "num", text: (each) => each.bibs.join(", ") },
  },
];

/** Returns {node, update({unknown, chips_without_participant, ambiguous_chips})}. */
export function chipProblems() {
  const none = empty("No chip to look at.", h("p", {}, "All that were read are known, and each is one person's."));
  const lists = KINDS.map(listOf);
  const node = h(
    "div",
    {},
    none,
    lists.map((each) => each.node),
  );
  const update = (found) => {
    const any = lists.map((each) => each.update(found)).some(Boolean);
    none.hidden = any;
  };
  return { node, update };
}

function listOf({ title, of, more }) {
  const chip = { title: "Chip", kind: "mono strong", text: (each) => each.chip_id };
  const table = rows([chip, more], { label: title, kind: "chips", key: (each) => each.chip_id });
  const rest = h("p", { class: "aside num" });
  const node = section(title, { level: "h3" }, table.node, rest);
  const update = (found) => {
    const chips = of(found);
    node.hidden = chips.length === 0;
    table.update(chips.slice(0, SHOWN));
    setText(rest, chips.length > SHOWN ? `${count(chips.length - SHOWN, "chip")} more` : "");
    return chips.length > 0;
  };
  return { node, update };
}
