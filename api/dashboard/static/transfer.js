// Files to and from our own API. Apart from other requests, because the page's first words need none.

import { ApiError, WITHIN_MS, read, told, unreachable } from "./http.js";

/** Resolves to why a file would be refused, an ApiError in the server's words, or to null: it is made for whoever asks. */
export async function refusal(path) {
  try {
    const options = { signal: AbortSignal.timeout(WITHIN_MS) };
    if ((await fetch(path, { ...options, method: "HEAD" })).ok) return null;
    // A head has no words.
    const answer = await fetch(path, options);
    if (answer.ok) await answer.body.cancel();
    else read(answer, await answer.text());
    return null;
  } catch (error) {
    return error instanceof ApiError ? error : unreachable();
  }
}

// A file may take minutes over a slow link, and the server ends what does not move.
const FILE_WITHIN_MS = 300000;

/** Sends a file as a form and returns the JSON of the answer; throws an ApiError. */
export const upload = (path, file) => {
  const form = new FormData();
  form.append("file", file);
  return told(path, { method: "POST", body: form, signal: AbortSignal.timeout(FILE_WITHIN_MS) });
};
