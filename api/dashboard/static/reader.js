// The reader of a stream, as its forwarder tells of it, with the forwarder's battery; and what an operator has the
// forwarder do with it. A forwarder uploads nothing while it does: it is asked when a person asks, and never by the page.

import { askFirst, say } from "./dialog.js";
import { h, setAttribute, setText } from "./dom.js";
import { behind, NONE, number, readerTime, streamName, time } from "./format.js";
import { fresh } from "./fresh.js";
import { ask, path } from "./http.js";
import { button, empty, fact, field } from "./parts.js";
import { serverNow } from "./state.js";
import { upsLevel, upsWords } from "./ups.js";

// As often as forwarders tell of their readers.
const EVERY_MS = 10000;
// To be told, and then to be answered by a reader that is mute.
const WITHIN_MS = 30000;

const LINKS = { connected: null, connecting: "watch", disconnected: "watch" };
const onOff = (value) => (value === null || value === undefined ? NONE : value ? "on" : "off");
const modeOf = ({ config }) => (config?.mode ? [config.mode, config.timeout].filter((each) => each !== undefined) : null);

// Of a reader's state and its info, which may lack anything.
const FACTS = {
  Link: (state) => [state.state, LINKS[state.state]],
  "Clock, by its forwarder": (_, info) => [behind(info.clock?.drift_ms)],
  "Its clock says": (_, info) => [
    info.clock?.reader_clock ? readerTime({ read_at: info.clock.reader_clock }, serverNow()) : NONE,
  ],
  Mode: (_, info) => [modeOf(info)?.join(", timeout ") ?? NONE],
  "Records in its memory": (_, info) => [onOff(info.recording), info.recording === false ? "watch" : null],
  "Reads in its memory": (_, info) => [number(info.estimated_stored_reads)],
  "Tells tags that leave": (_, info) => [onOff(info.tto_enabled)],
  Firmware: (_, info) => [info.hardware?.fw_version ?? NONE],
  "Failed connects": (_, info) => [number(info.connect_failures)],
};

/** Returns {node, update(card)}. */
export function readerPanel() {
  let card = null;
  let state = null;
  let askedAt = -Infinity;
  const facts = Object.entries(FACTS).map(([label, read]) => ({ ...fact(label), read }));
  const battery = fact("Battery, of its box");
  const told = h("p", { class: "hint" });
  const silent = empty(
    "Its forwarder tells nothing of this reader.",
    h("p", {}, "Older forwarders do not. It counts as connected while its forwarder is."),
  );
  const acts = actions(() => ({ card, state }));
  const known = h("div", {}, h("dl", { class: "facts many" }, facts.map((each) => each.node), battery.node), told, acts.node);
  const list = fresh(load, { everyMs: 3000 });
  const node = h("div", {}, list.said, silent, known);
  silent.hidden = known.hidden = true;

  async function load() {
    const { forwarder_id, reader_ip } = card;
    const [readers, batteries] = await Promise.all([
      ask("GET", path(["reader-states"], { forwarder_id })),
      ask("GET", "api/v1/forwarder-ups"),
    ]);
    state = readers.reader_states.find((each) => each.reader_ip === reader_ip) ?? null;
    show(batteries.forwarder_ups[forwarder_id] ?? null);
  }

  function show(ups) {
    silent.hidden = state !== null;
    known.hidden = state === null;
    battery.node.hidden = ups === null;
    if (ups !== null) battery.set(upsWords(ups), upsLevel(ups));
    if (state === null) return;
    for (const each of facts) each.set(...each.read(state, state.reader_info ?? {}));
    setText(told, state.info_at === null ? "It has told nothing of itself yet." : `Told ${time(state.info_at, serverNow())}`);
  }

  const update = (now) => {
    // Whether the link is there comes with the card, at once.
    if (card === null || card.reader_connected !== now.reader_connected || performance.now() - askedAt > EVERY_MS) {
      askedAt = performance.now();
      list.mark();
    }
    card = now;
    acts.update(card);
    list.refresh();
  };
  return { node, update };
}

function actions(shown) {
  const told = h("div", { "aria-live": "polite" });
  const ACTS = [
    ["Ask it now", () => order("refresh", "The reader has told how it is.")],
    ["Set its clock", () => order("sync-clock", "Its clock is being set; the new one shows within 10 s.")],
    ["Read mode…", () => readMode(shown(), order)],
    ["Recording…", () => onOrOff(shown(), order, RECORDING)],
    ["Tags that leave…", () => onOrOff(shown(), order, TTO)],
    ["Read its memory out…", () => download(shown(), order)],
    ["Stop reading out", () => order("stop-download", "It is read out no more.")],
    ["Connect anew…", () => reconnect(shown(), order)],
    ["Clear its memory…", () => clearMemory(shown(), order), "danger"],
  ];
  const buttons = ACTS.map(([label, act, kind = "plain"]) =>
    button(label, () => act().catch((error) => say(error.message)), { kind }),
  );
  const node = h(
    "div",
    {},
    h("div", { class: "buttons" }, buttons),
    h("p", { class: "hint" }, "While it does one of these, its forwarder uploads no reads: up to 16 s. They come afterwards."),
    told,
  );

  // Asks the forwarder; `done` is said when it has answered. Throws what it refuses.
  async function order(what, done, { method = "POST", body } = {}) {
    const { forwarder_id, reader_ip } = shown().card;
    const parts = ["forwarders", forwarder_id, "readers", reader_ip, what];
    say("Asking the forwarder …");
    const answer = await ask(method, path(parts), { body, withinMs: WITHIN_MS });
    say(done);
    return answer;
  }

  const update = (card) =>
    buttons.forEach((each, at) => {
      each.disabled = !card.online;
      setAttribute(each, "aria-label", `${ACTS[at][0]}: ${streamName(card)}`);
    });
  return { node, update };
}

const RECORDING = {
  title: "Recording",
  route: "recording",
  now: (info) => info.recording,
  text: "Whether the reader keeps what it reads in its own memory, too: what is left if all else fails.",
};
const TTO = {
  title: "Tags that leave",
  route: "tto",
  now: (info) => info.tto_enabled,
  text: "Whether the reader also tells when a tag has left its field.",
};

function choice(label, name, options, value) {
  const select = h(
    "select",
    { name },
    options.map(([is, word]) => h("option", { value: is, selected: is === value }, word)),
  );
  return field(label, select);
}

const onOrOff = ({ card, state }, order, { title, route, now, text }) => {
  const is = now(state.reader_info ?? {});
  const options = [["on", "on"], ["off", "off"]];
  return askFirst(`${title} of ${streamName(card)}`, {
    body: [h("p", {}, text), h("p", {}, `It is ${is === undefined || is === null ? "not known" : onOff(is)} now.`)],
    controls: { enabled: choice("From now on", "enabled", options, is === false ? "on" : "off") },
    verb: "Set",
    act: ({ enabled }) =>
      order(route, `${title}: ${enabled}.`, { method: "PUT", body: { enabled: enabled === "on" } }),
  });
};

function readMode({ card, state }, order) {
  const config = state.reader_info?.config ?? {};
  const timeout = h("input", {
    name: "timeout",
    type: "number",
    min: 0,
    max: 255,
    required: true,
    value: config.timeout ?? 5,
  });
  const modes = ["raw", "event", "fsls"].map((each) => [each, each]);
  return askFirst(`Read mode of ${streamName(card)}`, {
    body: h("p", {}, "How the reader tells of tags: raw is every read of each, event and fsls are fewer."),
    controls: {
      mode: choice("Mode", "mode", modes, config.mode ?? "raw"),
      timeout: field("Timeout", timeout, { hint: "0 to 255, in the reader's own units" }),
    },
    verb: "Set",
    act: ({ mode, timeout: after }) =>
      order("read-mode", `Read mode: ${mode}, timeout ${after}.`, {
        method: "PUT",
        body: { mode, timeout: Number(after) },
      }),
  });
}

const download = ({ card }, order) =>
  askFirst(`Read the memory of ${streamName(card)} out`, {
    body: h("p", {}, "What it has stored comes as ordinary reads, under new numbers. What is here already is here twice then."),
    verb: "Read it out",
    act: () => order("start-download", "Its memory is being read out."),
  });

const reconnect = ({ card }, order) =>
  askFirst(`Connect ${streamName(card)} anew`, {
    body: h("p", {}, "Its forwarder drops the link to the reader and makes it anew. Reads of that moment may be lost."),
    verb: "Connect anew",
    kind: "danger",
    act: () => order("reconnect", "The link is being made anew."),
  });

function clearMemory({ card, state }, order) {
  const info = state.reader_info ?? {};
  const mode = modeOf(info)?.join(", timeout ") ?? "not known";
  return askFirst(`Clear the memory of ${streamName(card)}`, {
    body: [
      h("p", {}, `The ${number(info.estimated_stored_reads)} reads in the reader's own memory are gone for good.`),
      h(
        "p",
        { class: "note" },
        `It leaves recording off and the read mode raw, timeout 5. Now recording is ${onOff(info.recording)} and the mode ${mode}: set both again afterwards.`,
      ),
      h("p", {}, "It takes some 11 s, in which the reader can be asked nothing else; it goes on reading."),
    ],
    typed: streamName(card),
    verb: "Clear its memory",
    kind: "danger",
    act: () => order("clear-records", "Its memory is being cleared: 0 reads in it show that it is done."),
  });
}
