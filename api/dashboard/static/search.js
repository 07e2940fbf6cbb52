// Finding anybody: one field at the head of every page, and who was found. What is looked for may be a name: it stands in
// no address, neither of a request, because proxies keep addresses, nor of a page, because browsers do.

import { h, setText } from "./dom.js";
import { NONE, count } from "./format.js";
import { ask } from "./http.js";
import { empty, failure } from "./parts.js";
import { rows } from "./rows.js";

const MOST_CHARACTERS = 100;
let wanted = "";
let asked = () => {};

/** Returns {node}: the field. A slash goes to it, wherever nothing is being typed. */
export function searchField() {
  const input = h("input", {
    type: "search",
    "aria-label": "Find anybody by bib, chip or name",
    placeholder: "Bib, chip or name",
    "aria-keyshortcuts": "/",
    autocomplete: "off",
    spellcheck: "false",
    maxlength: MOST_CHARACTERS,
  });
  const submit = (event) => {
    event.preventDefault();
    wanted = input.value.trim();
    if (wanted === "") return;
    if (location.hash === "#/find") asked();
    else location.hash = "#/find";
  };
  return { node: h("form", { class: "find", role: "search", on: { submit } }, input), input };
}

/** Returns {title, node, close()}: who was found. */
export function findPage() {
  const said = h("p", { class: "hint", role: "status" });
  const table = rows(COLUMNS, { label: "Found", kind: "found", key: (each) => `${each.race_id} ${each.bib} ${each.chip_ids}` });
  const failed = h("div");
  const none = empty("Nobody is looked for.", h("p", {}, "A bib, a chip or a part of a name goes into the field at the top; a slash goes there."));
  const node = h("div", {}, h("h1", {}, "Find anybody"), failed, said, table.node, none);
  let turn = 0;

  async function look() {
    const mine = ++turn;
    none.hidden = wanted !== "";
    table.node.hidden = true;
    failed.replaceChildren();
    setText(said, wanted === "" ? "" : "Looking …");
    if (wanted === "") return;
    try {
      const { people, left_out } = await ask("POST", "api/v1/search", { body: { q: wanted } });
      if (mine !== turn) return;
      table.update(people);
      table.node.hidden = people.length === 0;
      setText(said, words(wanted, people.length, left_out));
    } catch (error) {
      if (mine !== turn) return;
      setText(said, "");
      failed.replaceChildren(failure(error));
    }
  }

  asked = look;
  look();
  return { title: "Find anybody", node, close: () => (asked = () => {}) };
}

function words(text, found, left_out) {
  if (found === 0) return `Nobody is “${text}”: no bib, no chip that was read, and no part of a name.`;
  return `${count(found, "is", "are")} “${text}”${left_out ? `; ${count(left_out, "more is", "more are")} not shown: say more of the name` : ""}.`;
}

const address = ({ race_id, bib, chip_ids }) =>
  race_id === null ? `#/chip/${encodeURIComponent(chip_ids[0])}` : `#/person/${race_id}/${bib}`;
const nameOf = ({ first_name, last_name, race_id }) =>
  race_id === null ? "The chip, wherever it was read" : [first_name, last_name].filter(Boolean).join(" ") || "Without a name";

const COLUMNS = [
  {
    title: "Who",
    kind: "strong links",
    part: () => {
      const node = h("a");
      return { node, update: (each) => (node.setAttribute("href", address(each)), setText(node, nameOf(each))) };
    },
  },
  { title: "Bib", kind: "num", text: (each) => each.bib ?? NONE },
  { title: "Race", text: (each) => each.race ?? NONE },
  { title: "Chips", kind: "mono", text: (each) => each.chip_ids.join(", ") || NONE },
];
