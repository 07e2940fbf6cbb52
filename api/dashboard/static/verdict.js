// The verdict bar: one word on everything, and how old it is. Title and icon of the page follow it. When the link is
// lost, that is the verdict. Who listens instead of looking is told what is wrong, when that is another thing than before:
// numbers and ages that go on are not worth an interruption. Beside the pages' names stands the zone of all times.

import { h, setAttribute, setText } from "./dom.js";
import { count, duration, number, raceClock, time, withTimes, zoneNow } from "./format.js";
import { linkState } from "./link.js";
import { isSilent, shape } from "./parts.js";
import { serverNow, state } from "./state.js";

// What may keep the page from knowing anything. Which of both decides whether one looks for a cable or at the server.
const LOST = {
  word: "LINK LOST",
  never: "NO LINK",
  what: "The server does not answer. What you see is old. The page tries again by itself.",
};
const STALLED = {
  word: "NO DATABASE",
  never: "NO DATABASE",
  what: "The server answers, and its database does not. What you see is old; reads wait in their forwarders.",
};

// An address that stands there already opens nothing.
const showAlerts = () => document.getElementById("alerts")?.scrollIntoView();

/** Returns {node, update()}. */
export function verdictBar() {
  const mark = h("span", { class: "mark" });
  const word = h("strong", { class: "word" });
  const what = h("a", { class: "what", href: "#/alerts", on: { click: showAlerts } });
  const age = h("span", { class: "age" });
  const spoken = h("p", { class: "unseen", role: "status" });
  const node = h(
    "div",
    { class: "verdict", role: "region", "aria-label": "Verdict" },
    h("div", { class: "verdict-in" }, mark, word, what, age),
    spoken,
  );
  const title = document.querySelector("title");
  let level = null;
  let told = null;
  const update = () => {
    const now = verdict();
    if (now.level !== level) {
      level = now.level;
      mark.replaceChildren(shape(level === "wait" ? "good" : level));
      for (const each of [node, document.documentElement]) setAttribute(each, "data-level", level);
      document.querySelector("link[rel=icon]").href = `static/icon-${level === "wait" ? "lost" : level}.svg`;
    }
    if (now.news !== told) setText(spoken, `${now.word}. ${now.what}`);
    told = now.news;
    setText(word, now.word);
    setText(what, now.what);
    setText(age, now.age);
    setText(title, `${now.title} · rt-server`);
  };
  return { node, update };
}

/** Returns {node, update()}: which zone all times on the page are in. */
export function zoneLine() {
  const node = h("span", { class: "zone" });
  const update = () => {
    const { said, own } = zoneNow(serverNow());
    setText(node, state.verdict !== null ? `Times in ${said}${own ? ", this device's" : ""}` : "");
  };
  return { node, update };
}

function verdict() {
  const { lost, stalled, ageMs } = linkState();
  const age = state.verdict === null ? "" : duration(ageMs / 1000);
  if (lost || stalled) {
    const why = lost ? LOST : STALLED;
    const word = state.verdict === null ? why.never : why.word;
    return { level: "lost", word, what: why.what, age, title: word, news: word };
  }
  if (state.verdict === null) return { level: "wait", word: "CONNECTING", what: "", age: "", title: "connecting", news: null };
  const { level, act, watch, headline, since } = state.verdict;
  if (level === "good")
    return { level, word: "ALL GOOD", what: cleared(), age: `data ${age} old`, title: "ALL GOOD", news: level };
  const word = level === "act" ? `${act} ACT` : `${watch} WATCH`;
  const rest = level === "act" && watch ? ` · ${watch} to watch` : "";
  const from = since ? `, since ${time(since, serverNow())}` : "";
  return {
    level,
    word,
    what: [`${withTimes(headline ?? "", serverNow())}${from}${rest}`, ...racesOn().map(called)].join(" · "),
    age: `data ${age} old`,
    title: `${word}: ${headline}`,
    news: `${level} ${headline}`,
  };
}

// Which races are on; a process of the release before says nothing of it.
const racesOn = () => state.verdict.races ?? [];
const called = ({ name, gun_at }) => [name, raceClock(gun_at, serverNow())].filter(Boolean).join(" · ");

// Who has come by where, as far as the page that shows it knows.
function course({ race_id }) {
  const points = (state.courses.get(race_id)?.points ?? []).filter((point) => point.placed);
  return points.map((point, at) => `${number(point.crossed)} ${done(point, at, points.length)}`).join(", ");
}

// A course of one point has neither start nor finish.
function done({ name }, at, all) {
  if (all > 1 && at === 0) return "started";
  return all > 1 && at === all - 1 ? "finished" : `at ${name}`;
}

function cleared() {
  const { streams, online, closed, missing, acknowledged, muted } = state.verdict;
  if (!streams) return "No streams yet";
  const silent = [...state.streams.values()].filter(isSilent).length;
  const known = [acknowledged && `${number(acknowledged)} acknowledged`, muted && `${number(muted)} muted`];
  return [
    ...racesOn().flatMap((race) => [called(race), course(race)]),
    `${number(online)} of ${count(streams, "stream")} online${closed ? `, ${number(closed)} closed` : ""}`,
    silent && `${number(silent)} without a read yet`,
    `${number(missing)} missing`,
    ...known,
  ]
    .filter(Boolean)
    .join(" · ");
}
