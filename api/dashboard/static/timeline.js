// What was read of somebody, as the server tells it: the course as a line of dots, crossings, and all reads in order, by
// the readers' clocks. Also for whoever has a link to it, and so without anything that asks for more.

import { h, setText, svg } from "./dom.js";
import { NONE, count, elapsed, number } from "./format.js";
import { empty, section } from "./parts.js";
import { rows } from "./rows.js";
import { waitingWords } from "./waiting.js";

const CUT = "There are more crossings: of a chip that is read all day the newest are shown.";
const STATES = { seen: "Seen", not_seen: "Not seen", due: "Due", ahead: "To come" };

/** Returns {node, show(told)}. */
export function timeline() {
  const name = h("h1");
  const who = h("p", { class: "hint" });
  const waits = h("p", { class: "hint", role: "status" });
  const line = courseLine();
  const points = rows(POINTS, { label: "The course", kind: "person-points", key: (each) => each.place });
  const crossings = rows(CROSSINGS, { label: "Crossings", kind: "person-crossings", key: (each) => each.key });
  const reads = rows(READS, { label: "Reads", kind: "person-reads", key: (each) => `${each.stream_id} ${each.stream_epoch} ${each.seq}` });
  const course = section("The course", {}, line.node, points.node);
  const more = h("p", { class: "hint" });
  const seen = h("div", {}, section("Crossings", {}, crossings.node), section("Reads", {}, more, reads.node));
  const none = empty("Nothing was read yet.", h("p", {}, "As soon as one of the chips is read, it stands here."));

  function show(told) {
    setText(name, nameOf(told));
    setText(who, [told.race, told.bib !== null && `bib ${told.bib}`, told.chip_ids.join(", ")].filter(Boolean).join(" · "));
    setText(waits, [waitingWords(told.waiting_events), told.is_cut && CUT].filter(Boolean).join(" "));
    course.hidden = told.points.length === 0;
    line.update(told.points);
    points.update(told.points);
    none.hidden = told.crossings.length > 0;
    seen.hidden = !none.hidden;
    crossings.update(told.crossings.map((each, at) => ({ ...each, key: `${at}` })).reverse());
    setText(more, told.reads_left_out ? `The newest ${number(told.reads.length)}; ${number(told.reads_left_out)} older ones are in the crossings.` : "");
    reads.update([...told.reads].reverse());
  }

  return { node: h("div", {}, name, who, waits, course, seen, none), show };
}

const nameOf = ({ first_name, last_name, bib, chip_ids }) =>
  [first_name, last_name].filter(Boolean).join(" ") || (bib === null ? `Chip ${chip_ids[0]}` : `Bib ${bib}`);

// The reader's wall clock, as it said it: no zone moves it.
const clock = (at) => (at === null ? NONE : at.slice(11, 21));
const day = (at) => at.slice(0, 10);

const lasted = (seconds) => (seconds === null ? NONE : seconds < 60 ? `${seconds.toFixed(1)} s` : elapsed(Math.round(seconds) * 1000));

function expected({ state, expected_at, others, others_in_that_minute: there }) {
  if (state === "due") return expected_at ? `about ${clock(expected_at)}, as ${count(others, "other", "others")} took` : "nobody has gone on yet";
  if (state !== "not_seen") return NONE;
  if (!expected_at) return "nobody tells when";
  return `about ${clock(expected_at)}; ${count(there, "other was", "others were")} in that minute`;
}

const POINTS = [
  { title: "Point", kind: "strong", text: (each) => each.name },
  { title: "State", text: (each) => STATES[each.state] },
  { title: "At", kind: "num", text: (each) => clock(each.at) },
  { title: "Expected", text: expected },
];
const CROSSINGS = [
  { title: "Point", kind: "strong", text: (each) => each.point },
  { title: "At", kind: "num", text: (each) => `${day(each.at)} ${clock(each.at)}` },
  { title: "Since before", kind: "num", text: (each) => lasted(each.since_s) },
  { title: "Counts", text: (each) => (each.rule === "last" ? "the last read before leaving" : "the first read") },
  { title: "Reads", kind: "num", text: (each) => number(each.reads) },
];
const READS = [
  { title: "Reader's time", kind: "num", text: (each) => `${day(each.read_at)} ${clock(each.read_at)}` },
  { title: "Point", kind: "strong", text: (each) => each.point },
  { title: "Since before", kind: "num", text: (each) => lasted(each.gap_s) },
  { title: "Is", text: (each) => (each.counts ? "counts" : "follow-up") },
  { title: "Chip", kind: "mono", text: (each) => each.chip_id },
  { title: "Epoch, number", kind: "num", text: (each) => `${each.stream_epoch}, ${number(each.seq)}` },
];

// A dot for each point, full where she was seen, hollow with a cross where not, a ring where she is due. The table beneath
// says the same, and more.
function courseLine() {
  const list = h("ol", { class: "course-dots", "aria-hidden": "true" });
  const update = (points) => {
    const dots = points.map((point) => h("li", { "data-state": point.state }, dot(point.state), h("span", {}, point.name)));
    list.replaceChildren(...dots);
  };
  return { node: list, update };
}

function dot(state) {
  const cross = state === "not_seen" && svg("path", { d: "M5 5 11 11M11 5 5 11", class: "dot-cross" });
  return svg("svg", { class: "dot", viewBox: "0 0 16 16" }, svg("circle", { cx: 8, cy: 8, r: 6.5 }), cross);
}
