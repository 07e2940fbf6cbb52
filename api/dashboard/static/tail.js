// The latest reads of all streams, or of one stream, chip, bib or name, as they come; pausable.

import { h, keyed, setAttribute, setText } from "./dom.js";
import { feed, readKey } from "./feed.js";
import { NONE, count, number, readerTime, received, streamName } from "./format.js";
import { empty, failure, field } from "./parts.js";
import { rows } from "./rows.js";
import { serverNow, state } from "./state.js";
import { isOf, whoIs } from "./who.js";

const SHOWN = 50;
const ELSEWHERE = "Their streams' pages have them.";

/** Returns {node, update(), close()}. */
export function liveTail() {
  const tag = h("input", {
    type: "search",
    "data-filter": true,
    autocomplete: "off",
    spellcheck: "false",
    maxlength: 64,
    on: { input: changed },
  });
  const stream = h("select", { on: { change: changed } });
  const showStreams = keyed(stream, { key: (each) => each.stream_id, make: option });
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
    { class: "tail", tabindex: "0", role: "group", "aria-label": "Latest reads, a box that scrolls" },
    table.node,
    none,
  );
  const node = h(
    "div",
    {},
    h("div", { class: "filters" }, field("Chip, bib or name", tag), field("Stream", stream), pause),
    said,
    box,
    left,
  );
  let paused = false;
  const who = whoIs();
  // Of whom reads are asked for, and how many they are in all: they are sought when the filter changes.
  let chips = "";
  let meant = 0;
  const reads = feed({ wanted, most: SHOWN, changed: show, failed, means: (read) => isOf(read, tag.value) });

  function wanted() {
    return { tag_id: chips, stream_id: stream.value };
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
    setAttribute(pause, "aria-pressed", String(paused));
    setText(pause, paused ? "Go on" : "Pause");
    show();
  }

  function failed(error) {
    if (error.code !== "UNREACHABLE") said.replaceChildren(failure(error));
  }

  function show() {
    if (paused) return;
    const [text, stream_id] = [tag.value.trim(), stream.value];
    const found = reads.reads();
    table.update(found);
    table.node.hidden = found.length === 0;
    none.hidden = found.length > 0;
    const where = stream_id ? " of this stream" : "";
    none.firstChild.textContent = text ? `No read of ${text}${where}.` : `No reads${where} yet.`;
    const skipped = reads.skipped();
    const said = [
      meant && `Of ${count(meant, "chip")} that are meant only some are looked for among older reads: type more of the name.`,
      reads.cut() && `Their lines are long, so that not all of the newest reads are shown here. ${ELSEWHERE}`,
      skipped && `${count(skipped, "read")} came too fast to be shown here. ${ELSEWHERE}`,
    ].filter(Boolean);
    setText(left, said.join(" "));
  }

  const update = () => {
    const all = [...state.streams.values()];
    if (document.activeElement !== stream) showStreams([{ stream_id: "", all: true }, ...all]);
    reads.refresh();
  };
  const close = () => [reads, who].forEach((part) => part.close());
  return { node, update, close };
}

const option = (first) => {
  const node = h("option", { value: first.stream_id });
  return { node, update: (each) => setText(node, each.all ? "All streams" : streamName(each)) };
};

const chip = (read) => read.tag_id ?? (read.parse_error === null ? NONE : `unparsed: ${read.parse_error}`);

// Whose chip it is in the race of its epoch: a bib without a name where the race has no such person.
function whose({ race_id, tag_id, bib, bib_ambiguous, first_name, last_name }) {
  if (bib === null || bib === undefined) return race_id && tag_id ? "unknown chip" : "";
  const name = `${first_name ?? ""} ${last_name ?? ""}`.trim();
  return `${bib} ${name}${bib_ambiguous ? " (chip of several bibs)" : ""}`.trim();
}
const of = (read) => {
  const card = state.streams.get(read.stream_id);
  return card ? streamName(card) : read.stream_id;
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
const WHO = { title: "Who", kind: "plain who", text: whose };
export const READ_COLUMNS = [
  RECEIVED,
  { title: "Reader time", kind: "num", text: (read) => readerTime(read, serverNow()) },
  CHIP,
  WHO,
  NUMBER,
  LINE,
];
const COLUMNS = [RECEIVED, CHIP, WHO, { title: "Stream", kind: "plain", text: of }, NUMBER, LINE];
