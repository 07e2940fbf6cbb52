// One race: who runs in it and what is wrong with its chips, the files that say so, its forwarders and epochs, and how it
// begins.

import { h, setText } from "./dom.js";
import { NONE, number, raceClock, time } from "./format.js";
import { fresh } from "./fresh.js";
import { ask, askAgain, path } from "./http.js";
import { empty, fact, section } from "./parts.js";
import { beginning } from "./race-begin.js";
import { changeRace } from "./race-changes.js";
import { chipProblems } from "./race-chips.js";
import { raceCourse } from "./race-course.js";
import { raceCrossings } from "./race-crossings.js";
import { raceFiles } from "./race-files.js";
import { raceFlow } from "./race-flow.js";
import { raceEpochs, raceForwarders } from "./race-mappings.js";
import { rosterList } from "./race-roster.js";
import { raceSegments } from "./race-segments.js";
import { rosterOf } from "./rosters.js";
import { onEvent, racesChanged, serverNow } from "./state.js";
import { beyondCards } from "./streams.js";
import { liveTail } from "./tail.js";

/** Returns {title, node, update(), close()}. */
export function racePage(race_id) {
  const at = (...more) => path(["races", race_id, ...more]);
  const name = h("h1");
  const facts = raceFacts();
  const roster = rosterList(race_id, again);
  const chips = chipProblems();
  const parts = [raceForwarders(race_id, again), raceEpochs(race_id, again), beginning(race_id, again)];
  const [forwarders, epochs, begin] = parts;
  const course = raceCourse(race_id, again);
  const flow = raceFlow(race_id);
  const crossings = raceCrossings(race_id);
  const segments = raceSegments(race_id, again);
  const tail = liveTail({ course: () => race && { race_id, name: race.name, points: points.json.points } });
  const certify = h("a", { class: "button plain", href: `#/certificate/${encodeURIComponent(race_id)}` }, "Certificate");
  const body = h(
    "div",
    {},
    h("div", { class: "name-line" }, name, certify, changeRace(race_id, () => race, again)),
    facts.node,
    section("Begin", {}, begin.node),
    section("Files", {}, raceFiles(race_id, () => race, again)),
    section("Chips to look at", {}, chips.node),
    section("Course", {}, course.node),
    section("Came by", {}, flow.node),
    section("Crossings", {}, crossings.node),
    section("Latest reads of the race", {}, tail.node),
    section("Forwarders", {}, forwarders.node),
    section("Epochs of its own", {}, epochs.node),
    section("Boundaries", {}, h("p", { class: "hint" }, "Which reads are of this race, by the reader's clock: those on the coloured ground. The strip above them shows the epochs, by turns. Drag a boundary, or move it with the arrow keys: 5 s, with Shift a minute. Nothing changes until you apply it. Receivers that follow the race are sent its epochs whole, wherever boundaries are."), segments.node),
    section("People", {}, roster.node),
  );
  const missing = empty("There is no such race.", h("p", {}, h("a", { href: "#/races" }, "All races")));
  const list = fresh(load);
  const node = h("div", {}, list.said, body, missing);
  let race = null;
  let points;
  body.hidden = missing.hidden = true;

  async function load() {
    try {
      const asked = [at(), at("unknown-chips"), at("stream-epochs"), "api/v1/forwarder-races"].map((each) => ask("GET", each));
      const [found, unknown, { mappings }, { assignments }, people, streams, arranged] = await Promise.all([
        ...asked,
        asked[0].then(rosterOf),
        beyondCards(),
        askAgain(at("course"), points),
      ]);
      [race, points] = [found, arranged];
      setText(name, race.name);
      facts.update(race);
      roster.update(people.participants);
      chips.update({ ...people, unknown: unknown.chips });
      forwarders.update(race, assignments, streams);
      epochs.update(race, mappings);
      begin.update(race, streams);
      course.update(points.json);
      crossings.update(points.json.points);
    } catch (error) {
      if (error.code !== "NOT_FOUND") throw error;
      race = null;
    }
    body.hidden = race === null;
    missing.hidden = race !== null;
  }

  function again() {
    return list.again();
  }

  const stop = onEvent((event) => racesChanged(event) && list.mark());
  const close = () => [stop, flow.close, crossings.close, segments.close, tail.close].forEach((each) => each());
  const update = () => {
    list.refresh();
    flow.update();
    crossings.refresh();
    segments.update();
    tail.update();
    // What they say of streams the events tell.
    if (!race) return;
    parts.forEach((each) => each.refresh?.());
    facts.update(race);
  };
  list.refresh();
  return { title: () => race?.name ?? "Race", node, update, close };
}

const FACTS = {
  Gun: (race) => [race.gun_at ? time(race.gun_at, serverNow()) : NONE],
  Clock: (race) => [raceClock(race.gun_at, serverNow()) || NONE],
  People: (race) => [number(race.participant_count)],
  Chips: (race) => [number(race.chip_count)],
  "Chips of nobody": (race) => watched(race.unmatched_count),
  "Chips of several bibs": (race) => watched(race.ambiguous_count),
  "Unknown chips read": (race) => watched(race.unknown_chip_count),
  Forwarders: (race) => [number(race.forwarder_ids.length)],
  "Epochs of its own": (race) => [number(race.mapped_epochs.length)],
};
const watched = (value) => [number(value), value ? "watch" : null];

function raceFacts() {
  const facts = Object.entries(FACTS).map(([label, read]) => ({ ...fact(label), read }));
  const node = h(
    "dl",
    { class: "facts many" },
    facts.map((each) => each.node),
  );
  return { node, update: (race) => facts.forEach((each) => each.set(...each.read(race))) };
}
