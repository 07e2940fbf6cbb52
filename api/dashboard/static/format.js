// How numbers, times and names read. Whatever depends on the time takes it; the one thing that is kept is the zone.
//
// A read has two times on this page, and each is told by its word: *received*, when the server got it, in the page's
// zone; *reader time*, what the reader's own clock said, of no zone, and shown as it was said.

const whole = new Intl.NumberFormat("en");
export const NONE = "–";

/** 1234567 as 1,234,567. */
export const number = (value) => (value === null || value === undefined ? NONE : whole.format(value));

/** Events per second, to be read at a glance. */
export const rate = (value) => (value >= 10 ? whole.format(Math.round(value)) : value.toFixed(1));

/** Seconds since `time`, an RFC 3339 text, at `now`, in ms since 1970; never below zero. */
export const secondsSince = (time, now) => Math.max(0, (now - Date.parse(time)) / 1000);

/** A length of time in two units at the most: 12 s, 3 min 05 s, 2 h 14 min, 5 d 3 h. */
export function duration(seconds) {
  const s = Math.floor(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${two(s % 60)} s`;
  if (s < 86400)
    return `${Math.floor(s / 3600)} h ${two(Math.floor((s % 3600) / 60))} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** The same in one unit, for the largest type: 12 s, 3 min, 2 h, 5 d. */
export function shortDuration(seconds) {
  const s = Math.floor(seconds);
  if (s < 100) return [s, "s"];
  if (s < 6000) return [Math.floor(s / 60), "min"];
  return s < 172800 ? [Math.floor(s / 3600), "h"] : [Math.floor(s / 86400), "d"];
}

// One zone in the whole page: the server's TIME_ZONE where it is set, else the browser's.
let zone = formatsIn(undefined);

function formatsIn(timeZone) {
  const clock = { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone };
  // Throws where this browser does not know the zone.
  const own = new Intl.DateTimeFormat("en", { timeZone }).resolvedOptions().timeZone;
  return {
    asked: timeZone,
    name: timeZone ?? own,
    minutes: lazy("en-GB", clock),
    seconds: lazy("en-GB", { ...clock, second: "2-digit" }),
    hundredths: lazy("en-GB", { ...clock, second: "2-digit", fractionalSecondDigits: 2 }),
    day: lazy("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone }),
    wall: lazy("sv-SE", { dateStyle: "short", timeStyle: "medium", timeZone }),
    offset: lazy("en", { timeZoneName: "shortOffset", timeZone }),
  };
}

// Each takes some milliseconds to be made, which on a phone are many before the first word: made when it is needed.
function lazy(locale, options) {
  let made = null;
  const format = () => (made ??= new Intl.DateTimeFormat(locale, options));
  return { format: (at) => format().format(at), formatToParts: (at) => format().formatToParts(at) };
}

/** Shows all times in a zone from now on; null, or one that this browser does not know, is the browser's own. */
export function useZone(name) {
  const wanted = name ?? undefined;
  if (wanted === zone.asked) return;
  try {
    zone = formatsIn(wanted);
  } catch {
    zone = { ...formatsIn(undefined), asked: wanted };
  }
}

/** The page's zone: {said, own}, as "Europe/Berlin, UTC+1"; own: it is the browser's, not the server's. */
export function zoneNow(now) {
  const part = zone.offset.formatToParts(now).find(({ type }) => type === "timeZoneName").value;
  const offset = part.replace("GMT", "UTC").replace("-", "−");
  return { said: zone.name === "UTC" ? "UTC" : `${zone.name}, ${offset}`, own: zone.name !== zone.asked };
}

/** A time of today to the second, of another day with its date. */
export const time = (text, now) => (text === null ? NONE : ofDay(new Date(text), now, zone.seconds, zone.minutes));

/** A time of day, to the minute; at: in ms since 1970. */
export const minuteAt = (at) => zone.minutes.format(at);

/** When the server received a read, to the hundredth of a second. */
export const received = (text, now) =>
  text === null ? NONE : ofDay(new Date(text), now, zone.hundredths, zone.hundredths);

function ofDay(at, now, today, other) {
  const date = otherDay(zone.day.format(at), now);
  return date === "" ? today.format(at) : `${date}, ${other.format(at)}`;
}

// The date as far as it differs from today's.
function otherDay(date, now) {
  const today = zone.day.format(now);
  if (date === today) return "";
  const year = today.slice(-5);
  return date.endsWith(year) ? date.slice(0, -5) : date;
}

const WALL = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d+))?$/;
const utcDay = lazy("en-GB", {
  day: "numeric",
  month: "short",
  year: "numeric",
  timeZone: "UTC",
});

/** What the reader's own clock said when it read, to the hundredth: a wall clock that names no zone. */
export function readerTime({ read_at, reader_timestamp }, now) {
  const said = WALL.exec(read_at ?? reader_timestamp);
  if (said === null) return reader_timestamp || NONE;
  const [, date, seconds, fraction = ""] = said;
  const day = otherDay(utcDay.format(Date.parse(`${date}T00:00:00Z`)), now);
  return `${day === "" ? "" : `${day}, `}${seconds}.${fraction.padEnd(2, "0").slice(0, 2)}`;
}

const STAMP = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)/g;

/** A text of the server's with the times in it as this page shows times. */
export const withTimes = (text, now) => text.replace(STAMP, (stamp) => time(stamp, now));

/**
 * The moment that somebody means who typed a time of day of the page's zone, as RFC 3339; "" for nothing. In the night
 * when clocks are set back an hour comes twice: the first of them, or with `last` the second.
 */
export function moment(typed, { last = false } = {}) {
  if (typed === "") return "";
  const wall = Date.parse(`${typed}Z`);
  const DAY = 86400000;
  // The zone's offset is one of those a day before and after.
  const offsets = [-DAY, DAY].map((by) => wallOf(wall + by) - wall - by);
  const meant = offsets.map((offset) => wall - offset);
  // What clocks leave out when they are set forward is nobody's time: it is taken by the clock of before.
  const real = meant.filter((at) => wallOf(at) === wall);
  const found = real.length === 0 ? [meant[0]] : real;
  return new Date((last ? Math.max : Math.min)(...found)).toISOString();
}

/** The time of day of the page's zone that stands for a moment, as an input has it: what `moment` makes of it, turned. */
export const typed = (text) => (text === null ? "" : zone.wall.format(Date.parse(text)).replace(" ", "T"));

const wallOf = (at) => Date.parse(`${zone.wall.format(at).replace(" ", "T")}Z`);

/** A clock's offset: +12 ms, −1.2 s, −8 min 00 s; or why there is none. */
export function offset({ clock_offset_ms: ms, zone_unknown }) {
  if (zone_unknown) return "zone unknown";
  if (ms === null) return NONE;
  const size = Math.abs(ms);
  const sign = ms > 0 ? "+" : ms < 0 ? "−" : "±";
  if (size < 1000) return `${sign}${size} ms`;
  return size < 60000 ? `${sign}${(size / 1000).toFixed(1)} s` : `${sign}${duration(size / 1000)}`;
}

/** How far a reader's clock is behind its forwarder's, which is the other way round than an offset: 1.5 s behind. */
export function behind(ms) {
  if (ms === null || ms === undefined) return NONE;
  if (ms === 0) return "right";
  const size = Math.abs(ms);
  const said = size < 1000 ? `${size} ms` : size < 60000 ? `${(size / 1000).toFixed(1)} s` : duration(size / 1000);
  return `${said} ${ms > 0 ? "behind" : "ahead"}`;
}

/** Milliseconds as they are told apart: 0.4 ms, 12 ms. */
export const ms = (value) => `${value < 10 ? value.toFixed(1) : whole.format(Math.round(value))} ms`;

/** Bytes in the unit that people would use: 512 kB, 3.4 GB. */
export function bytes(size) {
  if (size === null || size === undefined) return NONE;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; size >= 1000 && unit < units.length - 1; unit++) size /= 1000;
  return `${size >= 10 || unit === 0 ? Math.round(size) : size.toFixed(1)} ${units[unit]}`;
}

const two = (value) => String(value).padStart(2, "0");

/** How long something took: 4:31, 1:14:07. */
export function elapsed(ms) {
  const seconds = Math.floor(ms / 1000);
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

/** A race's clock: 1:14:07; before the gun, how long it is to go. gun_at: a time, or null. */
export function raceClock(gun_at, nowMs) {
  if (!gun_at) return "";
  const seconds = Math.floor((nowMs - Date.parse(gun_at)) / 1000);
  const left = Math.abs(seconds);
  const said = `${Math.floor(left / 3600)}:${two(Math.floor(left / 60) % 60)}:${two(left % 60)}`;
  return seconds < 0 ? `gun in ${said}` : said;
}

/** One thing, two things. */
export const count = (value, one, many = `${one}s`) => `${number(value)} ${value === 1 ? one : many}`;

// What each forwarder calls itself, and the names that several have: two boxes of one name are told apart by their ids.
const names = new Map();
let shared = new Set();

/** Learns what the forwarders of streams are called; returns whether any of them is called otherwise than before. */
export function learnNames(streams) {
  let news = false;
  for (const { forwarder_id, forwarder_display_name: name } of streams) {
    news ||= names.get(forwarder_id) !== name;
    names.set(forwarder_id, name);
  }
  if (news) {
    const all = [...names.values()].filter(Boolean);
    shared = new Set(all.filter((name, at) => all.indexOf(name) !== at));
  }
  return news;
}

/** What people call a forwarder; with its id where another calls itself the same. */
export function forwarderName({ forwarder_id: id, forwarder_display_name: name }) {
  if (!name || name === id) return id;
  return shared.has(name) ? `${name} (${id})` : name;
}

/** Where a stream comes from. */
export const streamOrigin = (stream) => `${forwarderName(stream)} · ${stream.reader_ip}`;

/** The same beside a stream's name: nothing where that says it. */
export const originBeside = (stream) => (stream.display_alias ? streamOrigin(stream) : "");

/** What people call a stream; the server's alerts say the same. */
export const streamName = (stream) => stream.display_alias || streamOrigin(stream);
