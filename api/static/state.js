// What the server has told: the last overview, with every event since applied to it. Who shows a part of it is called
// at most once a frame, however many events come.

import { useZone } from "./format.js";

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
  processes: new Map(),
  database: null,
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

/** Takes a whole overview, which may be older than the events that came after it was asked for. */
export function takeOverview(overview, meanwhile) {
  skewMs = Date.parse(overview.at) - Date.now();
  useZone(overview.time_zone);
  state.loaded = true;
  state.at = overview.at;
  state.verdict = overview.verdict;
  state.troubles = overview.troubles;
  state.database = overview.database;
  state.streams = new Map(overview.streams.map((card) => [card.stream_id, card]));
  state.processes = new Map(overview.processes.map((process) => [process.process_id, process]));
  state.flow = new Map();
  for (const row of overview.flow) {
    if (!state.flow.has(row.receiver_id)) state.flow.set(row.receiver_id, []);
    state.flow.get(row.receiver_id).push(row);
  }
  for (const event of meanwhile) APPLY[event.type]?.(event);
  schedule();
}

/** Takes one event of the stream. */
export function takeEvent(event) {
  APPLY[event.type]?.(event);
  for (const listener of eventListeners) listener(event);
  schedule();
}

// An event has no bins: those of the last overview stay.
function takeCard(card) {
  const known = state.streams.get(card.stream_id);
  state.streams.set(card.stream_id, { ...card, rate: known?.rate ?? card.rate });
}

const APPLY = {
  stream_created: ({ stream }) => takeCard(stream),
  stream_updated: ({ stream }) => takeCard(stream),
  metrics_updated: ({ card }) => takeCard(card),
  receiver_updated: ({ receiver_id, flow }) => {
    if (flow.length) state.flow.set(receiver_id, flow);
    else state.flow.delete(receiver_id);
  },
  process_updated: ({ process }) => state.processes.set(process.process_id, process),
  verdict_updated: ({ verdict, troubles }) => Object.assign(state, { verdict, troubles }),
};

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
