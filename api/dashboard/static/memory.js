// The reader's own memory against what came of it: a file is compared and nothing is changed; what only the file has can
// then be stored, as a stream of its own.

import { askFirst, say } from "./dialog.js";
import { h } from "./dom.js";
import { dropZone } from "./drop.js";
import { count, number, streamName } from "./format.js";
import { path } from "./http.js";
import { button, failure, shape } from "./parts.js";
import { upload } from "./transfer.js";

const WORDS =
  "Drop what the reader itself has kept, its memory or its log file, or choose it: it is compared with what came of this " +
  "reader, and nothing is changed.";
// What a stream is called that holds what a reader's memory had.
const MEMORY = /#memory$/;
// What differs stands first: on a phone the rest is beyond the edge of its box.
const HEADS = ["Minute", "Only in the file", "Only with us", "In the file", "With us"];

/** Whether a stream holds what a reader's memory had. */
export const isMemory = ({ reader_ip }) => MEMORY.test(reader_ip);

/** Returns the node; card() is the stream as it is known. */
export function memoryPanel(stream_id, card) {
  const found = h("div", { "aria-live": "polite" });
  const zone = dropZone(WORDS, { label: "The reader's memory or log file", take: ([file]) => compare(file) });
  let turn = 0;

  async function compare(file) {
    const mine = ++turn;
    found.replaceChildren(h("p", {}, `Comparing ${file.name} …`));
    const shown = await looked(file);
    if (mine === turn) found.replaceChildren(...shown);
  }

  async function looked(file) {
    try {
      const answer = await upload(path(["streams", stream_id, "reconcile"]), file);
      return [told(file, answer), buttons(file, answer)];
    } catch (error) {
      return [h("div", { class: "file", "data-level": "act" }, h("h3", {}, file.name), failure(error)), buttons()];
    }
  }

  function buttons(file, { only_in_file: missed } = { only_in_file: 0 }) {
    const words = `Store ${count(missed, "line")}…`;
    const keep = button(words, () => store(file, missed), { kind: "primary" });
    return h("div", { class: "buttons" }, missed ? keep : null, button("Forget the file", clear));
  }

  async function store(file, missed) {
    const name = streamName(card());
    const answer = await askFirst(`Store ${count(missed, "line")} of ${name}`, {
      body: [
        h(
          "p",
          {},
          `What only ${file.name} has becomes a stream of its own, ${card().reader_ip}#memory of the same forwarder. ` +
            "Nothing of this stream changes, and the same file again stores nothing more. What is stored stays.",
        ),
      ],
      typed: name,
      verb: "Store",
      kind: "primary",
      act: () => upload(path(["streams", stream_id, "reconcile"], { store: true }), file),
    });
    if (answer === undefined) return;
    clear();
    const { lines, reader_ip, stream_epoch } = answer.left;
    say(`${count(lines, "line")} become ${reader_ip}, epoch ${stream_epoch}, within seconds.`);
  }

  function clear() {
    turn += 1;
    zone.clear();
    found.replaceChildren();
  }

  return h("div", {}, zone.node, found);
}

function told(file, answer) {
  const level = answer.only_in_file ? "watch" : "good";
  return h(
    "div",
    { class: "file", "data-level": level },
    h("h3", {}, file.name),
    h("p", { class: "good" }, shape(level), verdict(answer)),
    h("p", { class: "hint" }, facts(answer)),
    byMinute("Minutes that differ", answer.minutes.filter(differs)),
    later(
      `All ${count(answer.minutes.length, "minute")}`,
      () => byMinute("By the reader's clock", answer.minutes),
      answer.minutes.every(differs),
    ),
    left(answer),
    later("The lines", () => h("pre", { class: "lines mono" }, missedLines(answer)), answer.missed.length === 0),
  );
}

function verdict({ in_file, in_both, only_in_file }) {
  if (!only_in_file) return `All ${count(in_file, "line")} of the file came`;
  const odd = in_both * 2 < in_file ? ": is it this reader's file, and of the same form (with FS and LS, or without)?" : "";
  return `${number(only_in_file)} of ${count(in_file, "line")} never came${odd}`;
}

function facts({ with_us, with_us_of_memory, waiting, only_with_us, passed_over, without_time }) {
  return [
    `${number(with_us)} with us in that time`,
    with_us_of_memory && `${number(with_us_of_memory)} of them from its memory before`,
    waiting && `${number(waiting)} of these still on their way`,
    only_with_us && `${number(only_with_us)} only with us`,
    without_time && `${count(without_time, "line")} of the file without a time`,
    passed_over && `${count(passed_over, "line")} passed over, none of a read`,
  ]
    .filter(Boolean)
    .join(" · ");
}

const differs = ({ only_in_file, only_with_us }) => only_in_file > 0 || only_with_us > 0;

const left = ({ minutes_left_out: more }) =>
  more ? h("p", { class: "hint" }, `${count(more, "minute")} more, which are counted above.`) : null;

// A table of days is long: it is made when somebody wants to see it.
function later(summary, make, nothing = false) {
  if (nothing) return null;
  const details = h("details", { on: { toggle: () => details.open && details.children.length === 1 && details.append(make()) } }, h("summary", {}, summary));
  return details;
}

function byMinute(caption, minutes) {
  if (!minutes.length) return null;
  const table = h(
    "table",
    { class: "num" },
    h("caption", {}, caption),
    h("thead", {}, h("tr", {}, HEADS.map((head) => h("th", { scope: "col" }, head)))),
    h("tbody", {}, minutes.map(row)),
  );
  return h("div", { class: "scrolls tall", tabindex: "0", role: "group", "aria-label": `${caption}, a box that scrolls` }, table);
}

function row({ minute, in_file, with_us, only_in_file, only_with_us }) {
  const named = minute === null ? "without a time" : minute.slice(0, 16).replace("T", " ");
  const numbers = [only_in_file, only_with_us, in_file, with_us].map((each) => h("td", {}, number(each)));
  return h("tr", {}, h("th", { scope: "row" }, named), numbers);
}

function missedLines({ missed, only_in_file }) {
  const shown = missed.reduce((sum, { copies }) => sum + copies, 0);
  const lines = missed.map(({ line, copies }) => (copies > 1 ? `${line}  (${copies} times)` : line));
  if (shown < only_in_file) lines.push(`and ${number(only_in_file - shown)} more`);
  return lines.join("\n");
}
