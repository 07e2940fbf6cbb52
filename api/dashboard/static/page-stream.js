// One stream: its state and numbers, its epochs with their names, its reads with a filter, exports, and what an
// operator may do to it.

import { lastRead, presence, reasonsOf } from "./cards.js";
import { clockPlot } from "./clock-plot.js";
import { closeStream, openStream } from "./closing.js";
import { askFirst, say } from "./dialog.js";
import { h, setAttribute, setText } from "./dom.js";
import { epochList } from "./epochs.js";
import { number, offset, originBeside, rate, streamName, streamOrigin } from "./format.js";
import { fresh } from "./fresh.js";
import { ask, path } from "./http.js";
import { isMemory, memoryPanel } from "./memory.js";
import { badge, button, empty, fact, field, section } from "./parts.js";
import { closedWords, shownAs } from "./quiet.js";
import { readerPanel } from "./reader.js";
import { readList } from "./reads.js";
import { sequenceMap } from "./sequence.js";
import { sparkline } from "./sparkline.js";
import { onEvent, state } from "./state.js";

// Whole, and not told by events.
const METRICS_EVERY_MS = 4000;

/** Returns {title, node, update(), close()}. */
export function streamPage(stream_id) {
  const metrics = metricFacts();
  const numbers = fresh(
    async () => metrics.update(await ask("GET", path(["streams", stream_id, "metrics"]))),
    { everyMs: METRICS_EVERY_MS },
  );
  const map = sequenceMap(stream_id);
  const clock = clockPlot({ stream_id });
  const reads = readList(stream_id);
  const epochs = epochList(stream_id, { choose: reads.choose, loaded: reads.setEpochs });
  const head = streamHead(stream_id);
  const reader = readerPanel();
  const reset = button("Reset epoch…", () => resetEpoch(stream_id), { kind: "danger" });
  const memory = section("The reader's memory", {}, memoryPanel(stream_id, () => cardOf(stream_id)));
  const body = h(
    "div",
    {},
    head.node,
    section("Reader", {}, reader.node),
    section("Numbers", {}, metrics.node, map.node),
    section("Clock", {}, clock.node),
    section("Epochs", { aside: reset }, epochs.node),
    memory,
    section("Reads", {}, reads.node),
  );
  const missing = empty("There is no such stream.", h("p", {}, h("a", { href: "#/" }, "All streams")));
  const node = h("div", {}, body, missing);

  const close = onEvent((event) => {
    if (event.type === "resync" || event.streams?.some((row) => row.stream_id === stream_id)) numbers.mark();
  });
  const own = ownCard(stream_id);
  const update = () => {
    own.refresh();
    numbers.refresh();
    map.update();
    clock.update();
    const card = cardOf(stream_id);
    body.hidden = card === null;
    missing.hidden = card !== null || !own.asked();
    if (card === null) return;
    head.update(card);
    // No device numbers what a memory had, and it has no memory itself.
    memory.hidden = reset.hidden = isMemory(card);
    setAttribute(reset, "aria-label", `Reset epoch… of ${streamName(card)}`);
    reader.update(card);
    epochs.update(card);
    reads.update();
  };
  const end = () => [close, map.close, clock.close, reads.close, epochs.close].forEach((each) => each());
  return { title: () => nameOf(stream_id), node, update, close: end };
}

// Cards of streams that the first page has no room for, asked for now and then by who shows them.
const OWN_CARD_EVERY_MS = 5000;
const others = new Map();

const cardOf = (stream_id) => state.streams.get(stream_id) ?? others.get(stream_id) ?? null;

/** Returns {refresh(), asked()}: asks for a stream's own card where the first page has none. */
function ownCard(stream_id) {
  let askedAt = -Infinity;
  let answered = false;
  async function refresh() {
    if (state.streams.has(stream_id) || performance.now() - askedAt < OWN_CARD_EVERY_MS) return;
    askedAt = performance.now();
    try {
      others.set(stream_id, await ask("GET", path(["streams", stream_id, "card"])));
    } catch {
      others.delete(stream_id);
    }
    answered = true;
  }
  return { refresh, asked: () => answered };
}

const nameOf = (stream_id) => {
  const card = cardOf(stream_id);
  return card ? streamName(card) : "Stream";
};

function streamHead(stream_id) {
  const parts = { level: badge(), online: presence(), age: lastRead(), line: sparkline() };
  const name = h("h1");
  const origin = h("p", { class: "origin" });
  const closed = h("p", { class: "closed" });
  const reasons = h("p", { class: "reasons" });
  const close = button("Close…", () => closeStream({ stream_id, title: nameOf(stream_id) }));
  const reopen = button("Open again", () => openStream({ stream_id }));
  const renames = button("Rename…", () => rename(stream_id));
  const remove = button("Delete…", () => removeStream(stream_id), { kind: "danger" });
  const node = h(
    "header",
    { class: "stream-head card" },
    h("div", { class: "card-top" }, parts.level.node, parts.online.node),
    h(
      "div",
      { class: "name-line" },
      // On a phone the buttons come after what is wrong, not before it.
      h("div", {}, name, origin, closed, reasons),
      h("span", { class: "buttons" }, close, reopen, renames, remove),
    ),
    h("div", { class: "card-middle" }, parts.age.node, parts.line.node),
  );
  const update = (card) => {
    const [as, word] = shownAs(card);
    setAttribute(node, "data-level", as);
    parts.level.update(as, word);
    setText(closed, closedWords(card));
    close.hidden = card.closed_at !== null;
    reopen.hidden = card.closed_at === null;
    setText(name, streamName(card));
    setAttribute(renames, "aria-label", `Rename… stream ${streamName(card)}`);
    setAttribute(remove, "aria-label", `Delete… stream ${streamName(card)}`);
    setText(origin, originBeside(card));
    setText(reasons, reasonsOf(card));
    // The server refuses what holds reads, of any epoch, and what would come back at once.
    remove.hidden = card.online || card.epoch_reads > 0;
    parts.online.update(card);
    parts.age.update(card);
    parts.line.update(card.rate);
  };
  return { node, update };
}

const FACTS = {
  "Reads in this epoch": (m) => [number(m.epoch_dedup_count)],
  "Chips in this epoch": (m) => [number(m.unique_chips)],
  "Missing in this epoch": (m) => [number(m.missing_count), m.missing_count ? "watch" : null],
  "Retransmits in this epoch": (m) => [number(m.epoch_retransmit_count)],
  "Waiting for receivers": (m) => [number(m.backlog)],
  "Reads, all epochs": (m) => [number(m.dedup_count)],
  "Lines, all epochs": (m) => [number(m.raw_count)],
  "Retransmits, all epochs": (m) => [number(m.retransmit_count)],
  "Conflicts, all epochs": (m) => [number(m.conflict_count), m.conflict_count ? "act" : null],
  "Unparsed, all epochs": (m) => [number(m.unparsed_count), m.unparsed_count ? "watch" : null],
  "Reader's clock": (m) => [offset(m)],
  "Last chip": (m) => [m.last_tag_id ?? "–"],
};

function metricFacts() {
  const facts = Object.entries(FACTS).map(([label, read]) => ({ ...fact(label), read }));
  const gaps = h("p", { class: "gaps num" });
  const node = h(
    "div",
    {},
    h(
      "dl",
      { class: "facts many" },
      facts.map((each) => each.node),
    ),
    gaps,
  );
  const update = (metrics) => {
    for (const each of facts) each.set(...each.read(metrics));
    const ranges = metrics.missing_ranges.map(({ first, last }) =>
      first === last ? number(first) : `${number(first)} to ${number(last)}`,
    );
    setText(gaps, ranges.length ? `Missing numbers: ${ranges.join(", ")}` : "");
  };
  return { node, update };
}

const gone = (stream_id) => (cardOf(stream_id) === null ? "There is no such stream any more." : null);

async function rename(stream_id) {
  const card = cardOf(stream_id);
  const input = h("input", {
    name: "alias",
    maxlength: 200,
    autocomplete: "off",
    value: card.display_alias ?? "",
  });
  const was = card.display_alias;
  const renamed = await askFirst("Rename stream", {
    gone: () =>
      gone(stream_id) ??
      (cardOf(stream_id).display_alias === was ? null : `Somebody else has renamed it: ${nameOf(stream_id)}.`),
    controls: { alias: field("Name", input, { hint: `Leave it empty for ${streamOrigin(card)}` }) },
    verb: "Rename",
    act: ({ alias }) =>
      ask("PATCH", path(["streams", stream_id]), {
        body: { display_alias: alias.trim() || null, expected_display_alias: was },
      }),
  });
  if (renamed) say(`It is ${streamName(renamed)} now.`);
}

async function removeStream(stream_id) {
  const card = cardOf(stream_id);
  const removed = await askFirst(`Delete ${streamName(card)}`, {
    body: h("p", {}, "Nothing was ever read of it. If its forwarder names this reader again, it comes back."),
    verb: "Delete",
    gone: () => gone(stream_id),
    kind: "danger",
    act: () => ask("DELETE", path(["streams", stream_id])),
  });
  if (removed === undefined) return;
  others.delete(stream_id);
  say(`${streamName(card)} is deleted.`);
  location.hash = "#/streams";
}

async function resetEpoch(stream_id) {
  const card = cardOf(stream_id);
  const answer = await askFirst(`Reset the epoch of ${streamName(card)}`, {
    body: [
      h(
        "p",
        {},
        `The reader starts epoch ${card.stream_epoch + 1} at number 1. The ${number(card.epoch_reads)} reads of epoch ${card.stream_epoch} stay.`,
      ),
      card.online
        ? null
        : h("p", { class: "failure" }, "Its forwarder is offline: the command cannot reach it now."),
    ],
    typed: streamName(card),
    gone: () =>
      gone(stream_id) ??
      (cardOf(stream_id).stream_epoch === card.stream_epoch
        ? null
        : `It is in epoch ${cardOf(stream_id).stream_epoch} by now: somebody else has reset it.`),
    verb: "Reset epoch",
    kind: "danger",
    act: () =>
      ask("POST", path(["streams", stream_id, "reset-epoch"]), { body: { expected_epoch: card.stream_epoch } }),
  });
  if (answer) say(`The forwarder was told to begin epoch ${answer.new_stream_epoch}.`);
}
