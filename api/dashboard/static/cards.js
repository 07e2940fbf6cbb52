// The streams, a card each, those with alerts first. A card touches the page only where its stream has changed.

import { h, setAttribute, setText } from "./dom.js";
import {
  NONE,
  number,
  offset,
  originBeside,
  rate,
  secondsSince,
  shortDuration,
  streamName,
  withTimes,
} from "./format.js";
import { badge, fact, isSilent } from "./parts.js";
import { keyedInPieces } from "./pieces.js";
import { closedWords, shownAs } from "./quiet.js";
import { sparkline } from "./sparkline.js";
import { serverNow } from "./state.js";

// What does not count stands where it would if nothing were wrong; what is closed, behind all.
const RANK = { act: 0, watch: 1, good: 2, silent: 2, quiet: 2 };
const byName = new Intl.Collator("en", { numeric: true });

/** Returns {node, update(cards)}. */
export function streamCards() {
  const node = h("ul", { class: "cards" });
  const show = keyedInPieces(node, { key: (card) => card.stream_id, make: streamCard });
  let order = new Map();
  // What was in order is nearly so: a sort that begins with that compares each card with its neighbour, and few more.
  const update = (cards) => {
    const sorted = [...cards].sort((a, b) => (order.get(a.stream_id) ?? 1e9) - (order.get(b.stream_id) ?? 1e9)).sort(before);
    order = new Map(sorted.map((card, at) => [card.stream_id, at]));
    show(sorted);
  };
  return { node, update };
}

const rank = (card) => (card.closed_at !== null && shownAs(card)[0] === "quiet" ? 3 : RANK[shownAs(card)[0]]);

const before = (a, b) =>
  rank(a) - rank(b) ||
  byName.compare(streamName(a), streamName(b)) ||
  byName.compare(a.stream_id, b.stream_id);

/** Returns {node, update(card)}: the age of a stream's last read, in the largest type. */
export function lastRead() {
  const value = h("span", { class: "age-value num" });
  const unit = h("span", { class: "age-unit" });
  const label = h("span", { class: "age-label" });
  const node = h("p", { class: "age-of-read" }, h("span", { class: "age-number" }, value, unit), label);
  const update = ({ last_received_at }) => {
    const age =
      last_received_at === null ? [NONE, ""] : shortDuration(secondsSince(last_received_at, serverNow()));
    setText(value, age[0]);
    setText(unit, age[1]);
    setText(label, last_received_at === null ? "no read yet" : "since the last read");
  };
  return { node, update };
}

/** What is wrong with a stream, or what is not known of it. */
export function reasonsOf(card) {
  if (!isSilent(card)) return withTimes(card.reasons.join(" · "), serverNow());
  return `Nothing has come from this reader in epoch ${card.stream_epoch} yet: it may be switched off.`;
}

/** Returns {node, update(card)}: whether a forwarder is connected, and of a stream its reader, too. */
export function presence() {
  const node = h("span", { class: "presence" });
  const update = ({ online, reader_connected = true }) => {
    setText(node, online ? (reader_connected ? "online" : "reader not connected") : "offline");
    setAttribute(node, "data-online", String(online && reader_connected));
  };
  return { node, update };
}

const FACTS = {
  Reads: (card) => [number(card.epoch_reads)],
  Chips: (card) => [number(card.unique_chips)],
  "Per second": (card) => [rate(card.events_per_second)],
  Missing: (card) => [number(card.missing_count), card.missing_count ? "watch" : null],
  Retransmits: (card) => [number(card.retransmit_count)],
  Conflicts: (card) =>
    card.open_conflicts ? [`${number(card.open_conflicts)} open`, "act"] : [number(card.conflict_count)],
  Unparsed: (card) => [number(card.unparsed_count), card.unparsed_count ? "watch" : null],
  Clock: (card) => [offset(card)],
};

/** Returns {node, update(card)}: the numbers of a stream's current epoch. */
function cardFacts() {
  const facts = Object.entries(FACTS).map(([label, read]) => ({ ...fact(label), read }));
  const node = h(
    "dl",
    { class: "facts" },
    facts.map((each) => each.node),
  );
  return { node, update: (card) => facts.forEach((each) => each.set(...each.read(card))) };
}

function streamCard({ stream_id }) {
  const level = badge();
  const online = presence();
  const link = h("a", { href: `#/stream/${stream_id}` });
  const origin = h("p", { class: "origin" });
  const closed = h("p", { class: "closed" });
  const reasons = h("p", { class: "reasons" });
  const age = lastRead();
  const line = sparkline();
  const facts = cardFacts();
  const epoch = h("p", { class: "epoch" });
  const node = h(
    "li",
    { class: "card" },
    h("div", { class: "card-top" }, level.node, online.node),
    h("h3", {}, link),
    origin,
    closed,
    reasons,
    h("div", { class: "card-middle" }, age.node, line.node),
    epoch,
    facts.node,
  );
  let shown = null;
  const change = (card) => {
    const [as, word] = shownAs(card);
    setAttribute(node, "data-level", as);
    level.update(as, word);
    setText(closed, closedWords(card));
    setText(link, streamName(card));
    setText(origin, originBeside(card));
    setText(reasons, reasonsOf(card));
    setText(epoch, `Epoch ${card.stream_epoch}${card.epoch_name === null ? "" : ` · ${card.epoch_name}`}`);
    for (const part of [online, facts]) part.update(card);
    line.update(card.rate);
  };
  const update = (card) => {
    if (card !== shown) change((shown = card));
    age.update(card);
  };
  return { node, update };
}
