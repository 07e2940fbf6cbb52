// The latest reads of all streams, or of one point, stream, chip, bib or name, as they come; pausable.

import { h, setAttribute, setText } from "./dom.js";
import { feed, readKey } from "./feed.js";
import { NONE, count, elapsed, number, readerTime, received, streamName } from "./format.js";
import { empty, failure, field } from "./parts.js";
import { coursesOn, idsOf, placed, pointOf, whereChoice } from "./points.js";
import { rows } from "./rows.js";
import { serverNow, state } from "./state.js";
import { isOf, whoIs } from "./who.js";

const SHOWN = 50;
const ELSEWHERE = "Their streams' pages have them.";

/**
 * Returns {node, update(), close()}. course(): of one race {race_id, name, points} where reads of no other are meant, null
 * while it is not known.
 */
export function liveTail({ course = null } = {}) {
  const tag = h("input", {
    type: "search",
    "data-filter": true,
    autocomplete: "off",
    spellcheck: "false",
    maxlength: 64,
    on: { input: changed },
  });
  const where = whereChoice(changed);
  const pause = h(
    "button",
    { type: "button", class: "button plain", "aria-pressed": "false", on: { click: toggle } },
    "Pause",
  );
  const table = rows(COLUMNS, { label: "Latest reads", kind: "latest", key: readKey });
  const none = empty("");
  const said = h("div", { "aria-live": "polite" });
  const left = h("p", { class: "aside num" });
  const box = h(
    "div",
    // Who touches it wants to look at what stands there.
    { class: "tail", tabindex: "0", role: "group", "aria-label": "Latest reads, a box that scrolls", on: { pointerdown: () => paused || toggle() } },
    table.node,
    none,
  );
  const node = h(
    "div",
    {},
    h("div", { class: "filters" }, field("Chip, bib or name", tag), field("Point or stream", where.node), pause),
    said,
    box,
    left,
  );
  let paused = false;
  // How many have come since it was paused.
  let held = 0;
  const who = whoIs();
  // Of whom reads are asked for, and how many they are in all: they are sought when the filter changes.
  let chips = "";
  let meant = 0;
  const means = (read) => isOf(read, tag.value) && (course === null || read.race_id === course()?.race_id);
  const reads = feed({ wanted, most: SHOWN, changed: (news = 0) => ((held += news), show()), failed, means });

  function wanted() {
    const { ids } = where.chosen();
    return ids.length > 1 ? { tag_id: chips, stream_ids: ids.join(",") } : { tag_id: chips, stream_id: ids[0] ?? "" };
  }

  function changed() {
    said.replaceChildren();
    seek();
  }

  async function seek() {
    const text = tag.value;
    const found = text.trim() === "" ? null : await who.find(text);
    if (text !== tag.value) return;
    // Of nobody there is no read, but what comes may be.
    chips = found === null ? "" : found.chips.join(",") || "-";
    meant = found === null || found.all === found.chips.length ? 0 : found.all;
    reads.restart();
    show();
  }

  function toggle() {
    paused = !paused;
    held = 0;
    setAttribute(pause, "aria-pressed", String(paused));
    setText(pause, paused ? "Go on" : "Pause");
    show();
  }

  function failed(error) {
    if (error.code !== "UNREACHABLE") said.replaceChildren(failure(error));
  }

  function show() {
    if (paused) return setText(left, held ? `${count(held, "read")} since it was paused.` : "");
    const [text, at] = [tag.value.trim(), where.chosen().said];
    const found = reads.reads();
    table.update(found);
    table.node.hidden = found.length === 0;
    none.hidden = found.length > 0;
    none.firstChild.textContent = text ? `No read of ${text}${at}.` : `No reads${at} yet.`;
    const skipped = reads.skipped();
    const said = [
      meant && `Of ${count(meant, "chip")} that are meant ${number(chips.split(",").length)} are looked for among older reads: type more of the name.`,
      reads.cut() && `Their lines are long, so that not all of the newest reads are shown here. ${ELSEWHERE}`,
      skipped && `${count(skipped, "read")} came too fast to be shown here. ${ELSEWHERE}`,
    ].filter(Boolean);
    setText(left, said.join(" "));
  }

  const update = () => {
    const all = [...state.streams.values()];
    if (course === null) where.update(coursesOn(), all);
    else if (course() === null) return;
    else ofRace(course(), all);
    reads.refresh();
  };
  function ofRace(its, all) {
    const ids = its.points.flatMap(idsOf);
    where.update([{ ...its, points: placed(its.points) }], all.filter(({ stream_id }) => ids.includes(stream_id)), ids);
  }

  const close = () => [reads, who].forEach((part) => part.close());
  return { node, update, close };
}

const chip = (read) => read.tag_id ?? (read.parse_error === null ? NONE : `unparsed: ${read.parse_error}`);

// Whose chip it is in the race of its epoch: a bib without a name where the race has no such person.
function whose({ race_id, tag_id, bib, bib_ambiguous, first_name, last_name }) {
  if (bib === null || bib === undefined) return race_id && tag_id ? "unknown chip" : "";
  const name = `${first_name ?? ""} ${last_name ?? ""}`.trim();
  return `${bib} ${name}${bib_ambiguous ? " (chip of several bibs)" : ""}`.trim();
}
// Where it was: at a point of its race, as people call it, with the stream where several stand there or none is known.
const of = (read) => {
  const card = state.streams.get(read.stream_id);
  const stream = card ? streamName(card) : read.stream_id;
  const point = pointOf(read, coursesOn());
  return point && point !== stream ? `${point} · ${stream}` : stream;
};

const LINE = { title: "Line", kind: "mono line", text: (read) => read.raw_read_line };
const NUMBER = {
  title: "Epoch, number",
  kind: "num plain",
  text: (read) => `${read.stream_epoch} · ${number(read.seq)}`,
};

/** The columns of reads: of one stream, and of all. Which of its two times a column has, its title says. */
const RECEIVED = { title: "Received", kind: "num", text: (read) => received(read.received_at, serverNow()) };
const CHIP = { title: "Chip", kind: "mono strong", text: chip };
// Whether somebody was read there before, and how long it is since the point before.
const VISIT = {
  title: "Seen",
  kind: "plain who",
  text: ({ visit, point_before, since_point_before_ms: ms }) =>
    [visit, point_before && `+${elapsed(ms)} since ${point_before}`].filter(Boolean).join(", "),
};
const WHO = { title: "Who", kind: "plain who", text: whose };
export const READ_COLUMNS = [
  RECEIVED,
  { title: "Reader time", kind: "num", text: (read) => readerTime(read, serverNow()) },
  CHIP,
  WHO,
  VISIT,
  NUMBER,
  LINE,
];
const COLUMNS = [RECEIVED, CHIP, WHO, VISIT, { title: "Where", kind: "plain", text: of }, NUMBER, LINE];
