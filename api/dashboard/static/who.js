// Whom a filter means: a chip, a bib, or a part of a name. A name stands in no address, because proxies keep addresses: its
// chips are found in the roster that the page has, and reads are asked for by chip.

import { ask } from "./http.js";
import { rosterOf } from "./rosters.js";
import { onEvent, racesChanged, state } from "./state.js";

// Of one question, as many as the server takes. A chip of a roster is any text, and what stands in an address is escaped:
// proxies take eight kilobytes of a line, and the chips get half of them.
const MOST = 200;
const MOST_BYTES = 4000;
const COMMA = "%2C".length;
// What a reader says of a chip.
const CHIP = /^[0-9a-f]{12}$/;

/** Whether a read is of whom a text means; an empty one means everybody. */
export function isOf({ tag_id, bib, first_name, last_name }, text) {
  const wanted = text.trim().toLowerCase();
  if (wanted === "" || tag_id === wanted || String(bib ?? "") === wanted) return true;
  return Boolean(first_name || last_name) && isCalled(first_name, last_name, wanted);
}

const isCalled = (first, last, wanted) => [`${first} ${last}`, `${last} ${first}`, `${last}, ${first}`].some((name) => name.toLowerCase().includes(wanted));

/**
 * Returns {find(text), close()}. find: resolves to {chips, all}, the chips that a text means, which may be none, and how
 * many they would be if they were not cut.
 */
export function whoIs() {
  let rosters = null;
  const close = onEvent((event) => {
    if (racesChanged(event)) rosters = null;
  });

  async function find(text) {
    const wanted = text.trim().toLowerCase();
    rosters ??= load();
    const found = new Set(CHIP.test(wanted) ? [wanted] : []);
    // Without a roster a chip is found all the same; the next text asks for it again.
    for (const roster of await rosters.catch(() => ((rosters = null), []))) {
      for (const person of roster.participants)
        if (String(person.bib) === wanted || person.chip_ids.includes(wanted) || isCalled(person.first_name, person.last_name, wanted))
          person.chip_ids.forEach((chip) => found.add(chip));
      for (const { chip_id, bib } of roster.chips_without_participant) if (String(bib) === wanted) found.add(chip_id);
    }
    return { chips: cut([...found]), all: found.size };
  }
  return { find, close };
}

// Those that have room in one question. What is longer than the server takes of one chip is no chip that was read.
function cut(chips) {
  let bytes = 0;
  return chips.slice(0, MOST).filter((chip) => (bytes += encodeURIComponent(chip).length + COMMA) <= MOST_BYTES);
}

// Of the races that streams are in at the moment: those are the names that the reads have.
async function load() {
  const on = new Set([...state.streams.values()].map((card) => card.race_id).filter(Boolean));
  if (on.size === 0) return [];
  const { races } = await ask("GET", "api/v1/races");
  return Promise.all(races.filter(({ race_id }) => on.has(race_id)).map(rosterOf));
}
