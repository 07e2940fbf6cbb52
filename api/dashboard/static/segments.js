// Segments in words, and what is asked of the server when a boundary of one is moved (no elements here).

import { count, number } from "./format.js";

/** A place in a stream as people read it: epoch:number. */
export const bound = ([epoch, seq]) => `${epoch}:${seq}`;

/** The day and the time of a reader's clock; its texts have no zone. */
export const clock = (at) => at.slice(0, 19).replace("T", " ");

/** A time of a reader's clock in ms, and back. */
export const msOf = (at) => Date.parse(`${at}Z`);
export const textOf = (ms) => new Date(ms).toISOString().slice(0, 19);

const RULES = {
  segment: "moved",
  epoch: "whole epoch",
  forwarder: "by its forwarder",
};

/** A segment: what it is of, and whether somebody has made it. */
export function inWords({ begins, ends, rule }) {
  return `${edge(begins, "no read yet")} to ${ends === null ? "open: all that comes" : edge(ends, "no read behind it")} · ${RULES[rule]}`;
}

const edge = ({ epoch, seq, read }, none) => `${bound([epoch, seq])} (${read?.at ? clock(read.at) : none})`;

/** What changes sides: "7 reads: nobody's → Half". */
export function named(moved) {
  if (moved.length === 0) return "no read changes sides.";
  const whose = (race) => race ?? "nobody";
  return `${moved.map((each) => `${count(each.reads, "read")} from ${whose(each.was_race)} to ${whose(each.becomes_race)}`).join("; ")}.`;
}

/** The first and the last of the reads that change sides, and when they came. */
export const outermost = (moved) =>
  moved
    .map(({ first, last, reads }) => `${number(reads)}: ${told(first)} to ${told(last)}`)
    .join("; ");

const told = ({ epoch, seq, at, tag_id }) => `${bound([epoch, seq])}${at ? ` at ${clock(at)}` : ""}${tag_id ? `, chip ${tag_id}` : ""}`;

/** Where boundaries lie: every end of every segment, with the time of its read on the axis, in ms. */
export function boundaries({ segments, axis }) {
  const [since, until] = [msOf(axis.since), msOf(axis.until)];
  return segments.flatMap((segment, place) =>
    ["begins", "ends"].map((which) => {
      const there = segment[which]?.read?.at;
      const ms = there ? msOf(there) : until;
      return { place, which, segment, ms: Math.min(until, Math.max(since, ms)) };
    }),
  );
}

/**
 * The segments of the race in the stream when one end of one of them lies at a time: those that somebody has made, what
 * the race has else of the epochs that this one touches, and this one. At the end of the axis it is open.
 */
export function wanted({ segments, axis }, { place, which }, ms) {
  const here = segments[place];
  const place_of = ({ epoch, seq }) => ({ epoch, seq });
  const now = ({ begins, ends }) => ({ begins: place_of(begins), ends: ends && place_of(ends) });
  const epochs = [here.begins.epoch, here.ends?.seq > 1 ? here.ends.epoch : here.begins.epoch];
  const others = segments.filter((each) => each !== here && (each.rule === "segment" || epochs.includes(each.begins.epoch)));
  const open = which === "ends" && ms >= msOf(axis.until);
  const mine = { ...now(here), [which]: open ? null : { at: textOf(ms) } };
  return [...others.map(now), mine];
}

/** The same as places of reads, as a preview has answered them. */
export const resolved = (segments) =>
  segments
    .filter(({ rule }) => rule === "segment")
    .map(({ begins, ends }) => ({ begins: { epoch: begins.epoch, seq: begins.seq }, ends: ends && { epoch: ends.epoch, seq: ends.seq } }));
