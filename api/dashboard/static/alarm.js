// What is red is heard and felt by who looks away: a sound and a buzz at each new red, and a screen that stays on. Browsers
// allow these only after a tap, and to a page that is loaded anew only after another.

import { h, setAttribute, setText } from "./dom.js";
import { linkState } from "./link.js";
import { state, subscribe } from "./state.js";

// Hz, and when each begins, in seconds: unlike the beep of a reader, and short enough for one a second.
const TONES = [
  [880, 0],
  [660, 0.2],
  [880, 0.4],
];
const TONE_S = 0.15;
const LOUD = 0.3;
const BUZZ_MS = [200, 100, 200, 100, 400];

/** Returns {node}: the button that turns it on and off. */
export function alarm() {
  const node = h("button", { type: "button", class: "alarm", "aria-pressed": "false", on: { click: toggle } }, "Sound off");
  let sound = null;
  let awake = null;
  let known = reds();

  function toggle() {
    if (sound === null) {
      sound = new AudioContext();
      // One tone says that it is on, and how loud it is.
      play(TONES.slice(0, 1));
      stayAwake();
    } else {
      sound.close();
      sound = null;
      awake?.release();
      awake = null;
    }
    setAttribute(node, "aria-pressed", String(sound !== null));
    setText(node, sound === null ? "Sound off" : "Sound on");
  }

  function play(tones) {
    // It may have been put to sleep meanwhile, as by a call.
    sound.resume();
    for (const [frequency, begins] of tones) {
      const [tone, volume] = [sound.createOscillator(), sound.createGain()];
      tone.frequency.value = frequency;
      volume.gain.value = LOUD;
      tone.connect(volume).connect(sound.destination);
      tone.start(sound.currentTime + begins);
      tone.stop(sound.currentTime + begins + TONE_S);
    }
  }

  async function stayAwake() {
    // A browser without it, or with an empty battery, refuses: the sound goes on.
    awake = (await navigator.wakeLock?.request("screen").catch(() => null)) ?? null;
  }

  function update() {
    const now = reds();
    const isNew = [...now].some((each) => !known.has(each));
    known = now;
    if (sound === null || !isNew) return;
    play(TONES);
    navigator.vibrate?.(BUZZ_MS);
  }

  subscribe(update);
  // The link is lost without any event, and a lock of the screen with the page that is hidden.
  setInterval(update, 1000);
  document.addEventListener("visibilitychange", () => {
    if (sound !== null && document.visibilityState === "visible") stayAwake();
  });
  return { node };
}

// What is red and counts, each by what it is; that the page knows nothing is red, too.
function reds() {
  const { lost, stalled } = linkState();
  const open = state.troubles.filter((each) => each.level === "act" && each.ended_at === null && each.quiet === null);
  const names = open.map(({ signal, subject_kind, subject_id, stream_id }) => [signal, subject_kind, subject_id, stream_id].join());
  return new Set([...names, ...(lost ? ["lost"] : []), ...(stalled ? ["stalled"] : [])]);
}
