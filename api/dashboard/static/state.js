// What the server has told: the last overview, with every event since applied to it. Who shows a part of it is called
// at most once a frame, however many events come. A row that has changed is another object, and one that has not is
// the same: that is how whoever shows it knows.

import { learnNames, useZone } from "./format.js";

// Of ten seconds each: half an hour.
const BINS = 180;
const listeners = new Set();
const eventListeners = new Set();
let scheduled = false;
let skewMs = 0;

export const state = {
  loaded: false,
  at: null,
  verdict: null,
  streams: new Map(),
  flow: new Map(),
  troubles: [],
  mutes: [],
  processes: new Map(),
  database: null,
  ratesBin: 0,
  // The courses of races that are on, by race: while a page shows them, and keeps them up to date.
  courses: new Map(),
};

/** The server's time in ms, as well as we know it. */
export const serverNow = () => Date.now() + skewMs;

/** Calls `listener` after changes, once a frame; returns what ends that. */
export function subscribe(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Calls `listener` with each event as it comes; returns what ends that. */
export function onEvent(listener) {
  eventListeners.add(listener);
  return () => eventListeners.delete(listener);
}

/** Takes how things stand as a whole, which comes before all else. */
export function takeVerdict({ at, time_zone, verdict }) {
  if (state.loaded) return;
  skewMs = Date.parse(at) - Date.now();
  useZone(time_zone);
  state.verdict = verdict;
  schedule();
}

/** Takes a whole overview, which may be older than the events that came after it was asked for. */
export function takeOverview(overview, meanwhile) {
  skewMs = Date.parse(overview.at) - Date.now();
  useZone(overview.time_zone);
  state.loaded = true;
  state.at = overview.at;
  state.verdict = overview.verdict;
  state.troubles = overview.troubles;
  state.mutes = overview.mutes;
  state.database = overview.database;
  state.ratesBin = overview.rates_bin;
  learnNames(overview.streams);
  state.streams = new Map(overview.streams.map((card) => [card.stream_id, card]));
  state.processes = new Map(overview.processes.map((process) => [process.process_id, process]));
  state.flow = new Map();
  for (const row of overview.flow) takeFlow(row);
  for (const event of meanwhile) APPLY[event.type]?.(event);
  schedule();
}

/** Takes one event of the stream. */
export function takeEvent(event) {
  APPLY[event.type]?.(event);
  for (const listener of eventListeners) listener(event);
  schedule();
}

// Of a stream these change seldom, and others list them too.
const NAMES = [
  "forwarder_id",
  "display_alias",
  "forwarder_display_name",
  "stream_epoch",
  "online",
  "reader_connected",
  "closed_at",
];

/** Whether an event says that a stream has come, has gone or is called otherwise. */
export const namesChanged = (event) =>
  event.type === "changed" &&
  Boolean(event.streams_gone || event.streams?.some((row) => NAMES.some((name) => name in row)));

/** Whether an event says that a race is another, or what belongs to one; or that it may be. */
export const racesChanged = ({ type, races_changed }) => type === "resync" || (type === "changed" && Boolean(races_changed));

/** Whether an event is an entry of the log of which the name begins in one of some ways. */
export const isEntryOf = ({ type, entry }, ...beginnings) =>
  type === "log_entry" && beginnings.some((each) => entry.event.startsWith(each));

const APPLY = {
  changed(event) {
    for (const row of event.streams ?? []) merge(state.streams, row.stream_id, row, "forwarder_id");
    // Another forwarder's name may decide how a stream is called.
    if (event.streams && learnNames(state.streams.values()))
      for (const [id, card] of state.streams) state.streams.set(id, { ...card });
    for (const id of event.streams_gone ?? []) state.streams.delete(id);
    for (const row of event.flow ?? []) takeFlow(row);
    for (const gone of event.flow_gone ?? []) dropFlow(gone);
    if (event.troubles || event.troubles_shown) takeAlerts(event);
    for (const row of event.processes ?? []) merge(state.processes, row.process_id, row, "role");
    for (const id of event.processes_gone ?? []) state.processes.delete(id);
    if (event.rates) takeRates(event.rates);
    state.verdict = event.verdict ?? state.verdict;
    state.mutes = event.mutes ?? state.mutes;
    state.database = event.database ?? state.database;
  },
};

// A row that is not known and not whole (it has not even what no row ever changes) was told before an overview that has
// it no more: an event on its way will say so.
function merge(rows, key, row, always) {
  if (rows.has(key) || always in row) rows.set(key, { ...rows.get(key), ...row });
}

function takeFlow(row) {
  const rows = state.flow.get(row.receiver_id) ?? [];
  const at = rows.findIndex((each) => each.stream_id === row.stream_id);
  if (at < 0 && !["connected", "subscribed", "level"].every((name) => name in row)) return;
  const next = at < 0 ? [...rows, row] : rows.with(at, { ...rows[at], ...row });
  state.flow.set(row.receiver_id, next);
}

function dropFlow({ receiver_id, stream_id }) {
  const left = (state.flow.get(receiver_id) ?? []).filter((each) => each.stream_id !== stream_id);
  if (left.length) state.flow.set(receiver_id, left);
  else state.flow.delete(receiver_id);
}

function takeAlerts({ troubles = [], troubles_shown }) {
  const known = new Map(state.troubles.map((each) => [each.trouble_id, each]));
  for (const row of troubles) merge(known, row.trouble_id, row, "signal");
  const shown = troubles_shown ?? state.troubles.map((each) => each.trouble_id);
  state.troubles = shown.map((id) => known.get(id)).filter(Boolean);
}

// The bins of a stream that is not named are zeros; of one that had nothing but zeros nothing changes. A page that was
// opened before anything was read knows no bin: what cards have come with ends before the first bin that is told.
function takeRates({ bin, counts }) {
  if (bin <= state.ratesBin) return;
  const told = Object.values(counts)[0]?.length ?? 0;
  const by = Math.min(state.ratesBin ? bin - state.ratesBin : told, BINS);
  state.ratesBin = bin;
  for (const [id, card] of state.streams) {
    const came = (counts[id] ?? []).slice(-by);
    if (by === 0 || (!came.length && !card.rate.some(Boolean))) continue;
    const zeros = new Array(by - came.length).fill(0);
    const rate = [...new Array(BINS).fill(0), ...card.rate, ...zeros, ...came].slice(-BINS);
    state.streams.set(id, { ...card, rate });
  }
}

// A page in the background gets no frames, but its title must follow.
function schedule() {
  if (scheduled) return;
  scheduled = true;
  if (document.hidden) setTimeout(publish, 250);
  else requestAnimationFrame(publish);
}

function publish() {
  scheduled = false;
  for (const listener of listeners) listener();
}
