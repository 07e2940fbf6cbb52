// The races: those that there are, and where one is made.

import { h } from "./dom.js";
import { NONE, number, time } from "./format.js";
import { fresh } from "./fresh.js";
import { ask } from "./http.js";
import { empty, failure, field, section } from "./parts.js";
import { rows } from "./rows.js";
import { onEvent, racesChanged, serverNow } from "./state.js";

/** Returns {title, node, update(), close()}. */
export function racesPage() {
  const table = rows(COLUMNS, { label: "Races", kind: "races", key: (race) => race.race_id });
  const none = empty("No race yet.", h("p", {}, "A race knows whose a chip is, and which epochs are its own."));
  const list = fresh(async () => {
    const { races } = await ask("GET", "api/v1/races");
    table.update(races);
    table.node.hidden = races.length === 0;
    none.hidden = races.length > 0;
  });
  none.hidden = true;
  const node = h("div", {}, h("h1", {}, "Races"), section("All races", {}, makeForm(), list.said, table.node, none));
  const close = onEvent((event) => racesChanged(event) && list.mark());
  list.refresh();
  return { title: "Races", node, update: list.refresh, close };
}

function makeForm() {
  const name = h("input", { name: "name", required: true, maxlength: 255, autocomplete: "off" });
  const said = h("div");
  const go = h("button", { type: "submit", class: "button primary" }, "Make a race");
  const form = h("form", { class: "filters", on: { submit } }, field("Name, such as 10 km", name), go);

  async function submit(event) {
    event.preventDefault();
    go.disabled = true;
    try {
      const { race_id } = await ask("POST", "api/v1/races", { body: { name: name.value } });
      location.hash = `#/race/${race_id}`;
    } catch (error) {
      said.replaceChildren(failure(error));
    }
    go.disabled = false;
  }
  return h("div", {}, form, said);
}

const COLUMNS = [
  {
    title: "Race",
    kind: "strong links",
    part: ({ race_id }) => {
      const node = h("a", { href: `#/race/${race_id}` });
      return { node, update: (race) => (node.textContent = race.name) };
    },
  },
  { title: "People", kind: "num", text: (race) => number(race.participant_count) },
  { title: "Chips", kind: "num", text: (race) => number(race.chip_count) },
  { title: "Made", kind: "num", text: (race) => time(race.created_at, serverNow()) },
  {
    title: "People are removed",
    kind: "num",
    text: ({ participants_until: at }) => (at === null ? NONE : time(at, serverNow())),
  },
];
