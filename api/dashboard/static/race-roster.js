// Who runs in a race: as many as one can look at, by a filter; the rest is counted.

import { askFirst, say } from "./dialog.js";
import { h, setText } from "./dom.js";
import { NONE, count, number } from "./format.js";
import { ask, path } from "./http.js";
import { button, empty, field } from "./parts.js";
import { rows } from "./rows.js";

const SHOWN = 50;

/** Returns {node, update(participants)}; `changed` is called when a person was removed. */
export function rosterList(race_id, changed) {
  const filter = h("input", {
    type: "search",
    "data-filter": true,
    autocomplete: "off",
    spellcheck: "false",
    on: { input: show },
  });
  const table = rows([...COLUMNS, { title: "Actions", kind: "acts", part: acts }], {
    label: "People",
    kind: "roster",
    key: (person) => person.bib,
  });
  const none = empty("");
  const shown = h("p", { class: "aside num" });
  const node = h("div", {}, h("div", { class: "filters" }, field("Bib, name or chip", filter)), table.node, none, shown);
  let people = [];

  function acts(first) {
    const remove = () => removePerson(race_id, first, changed);
    return { node: button("Remove…", remove, { "aria-label": `Remove bib ${first.bib}` }) };
  }

  function show() {
    const wanted = filter.value.trim().toLowerCase();
    const found = wanted === "" ? people : people.filter((each) => textOf(each).includes(wanted));
    table.update(found.slice(0, SHOWN));
    table.node.hidden = found.length === 0;
    none.hidden = found.length > 0;
    setText(none.firstChild, people.length ? "Nobody passes this filter." : "Nobody yet. Drop the file of people above.");
    const rest = found.length > SHOWN ? `${number(SHOWN)} of ` : "";
    setText(shown, found.length ? `${rest}${count(found.length, "person", "people")} shown` : "");
  }

  const update = (participants) => {
    people = participants;
    show();
  };
  return { node, update };
}

const name = ({ first_name, last_name }) => `${first_name} ${last_name}`.trim() || NONE;
const textOf = (each) => `${each.bib} ${name(each)} ${each.affiliation ?? ""} ${each.chip_ids.join(" ")}`.toLowerCase();

const COLUMNS = [
  { title: "Bib", kind: "num strong", text: (person) => String(person.bib) },
  { title: "Name", kind: "strong", text: name },
  { title: "Affiliation", kind: "plain who", text: (person) => person.affiliation ?? "" },
  { title: "Gender", kind: "plain who", text: (person) => (person.gender === "X" ? "" : person.gender) },
  { title: "Chips", kind: "mono", text: (person) => person.chip_ids.join(", ") || "no chip" },
];

async function removePerson(race_id, person, changed) {
  const removed = await askFirst(`Remove ${name(person)}, bib ${person.bib}`, {
    body: h("p", {}, "Name and affiliation are deleted. Reads of the chip stay, with a bib that is nobody's."),
    verb: "Remove",
    kind: "danger",
    act: () => ask("DELETE", path(["races", race_id, "bibs", person.bib])),
  });
  if (removed === undefined) return;
  say(`Bib ${person.bib} is removed.`);
  changed();
}
