// How numbers, times and names read. Pure: whatever depends on the time takes it.

const whole = new Intl.NumberFormat("en");
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const minutes = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

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
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s`;
  if (s < 86400)
    return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** The same in one unit, for the largest type: 12 s, 3 min, 2 h, 5 d. */
export function shortDuration(seconds) {
  const s = Math.floor(seconds);
  if (s < 100) return [s, "s"];
  if (s < 6000) return [Math.floor(s / 60), "min"];
  return s < 172800 ? [Math.floor(s / 3600), "h"] : [Math.floor(s / 86400), "d"];
}

/** A time of today to the second, of another day with its date. */
export function time(text, now) {
  if (text === null) return NONE;
  const at = new Date(text);
  const [date, today] = [day.format(at), day.format(now)];
  if (date === today) return clock.format(at);
  const year = today.slice(-5);
  return `${date.endsWith(year) ? date.slice(0, -5) : date}, ${minutes.format(at)}`;
}

/** A clock's offset: +12 ms, −1.2 s, −8 min 00 s; or why there is none. */
export function offset({ clock_offset_ms: ms, zone_unknown }) {
  if (zone_unknown) return "zone unknown";
  if (ms === null) return NONE;
  const size = Math.abs(ms);
  const sign = ms > 0 ? "+" : ms < 0 ? "−" : "±";
  if (size < 1000) return `${sign}${size} ms`;
  return size < 60000 ? `${sign}${(size / 1000).toFixed(1)} s` : `${sign}${duration(size / 1000)}`;
}

/** Bytes in the unit that people would use: 512 kB, 3.4 GB. */
export function bytes(size) {
  if (size === null || size === undefined) return NONE;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; size >= 1000 && unit < units.length - 1; unit++) size /= 1000;
  return `${size >= 10 || unit === 0 ? Math.round(size) : size.toFixed(1)} ${units[unit]}`;
}

/** One thing, two things. */
export const count = (value, one, many = `${one}s`) => `${number(value)} ${value === 1 ? one : many}`;

/** Where a stream comes from. */
export const streamOrigin = (stream) =>
  `${stream.forwarder_display_name || stream.forwarder_id} · ${stream.reader_ip}`;

/** What people call a stream; the server's troubles say the same. */
export const streamName = (stream) => stream.display_alias || streamOrigin(stream);
