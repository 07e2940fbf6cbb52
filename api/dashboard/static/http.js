// Requests to our own API: JSON both ways, and errors in its words.

/** What the API refused, or that it could not be reached (code UNREACHABLE). */
export class ApiError extends Error {
  constructor(code, message, details = null) {
    super(message);
    this.code = code;
    this.details = details;
  }
}

export const WITHIN_MS = 15000;

/** Asks and returns the JSON of the answer, null for none; throws an ApiError. */
export function ask(method, path, { body, withinMs = WITHIN_MS } = {}) {
  const options = { method, signal: AbortSignal.timeout(withinMs) };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers = { "Content-Type": "application/json" };
  }
  return told(path, options);
}

/**
 * Asks for what may be still the same: `before` is what this has returned of it last, or undefined. Returns {json, tag};
 * `before` itself where it is the same, which costs a few bytes.
 */
export async function askAgain(path, before) {
  const headers = before?.tag ? { "If-None-Match": before.tag } : {};
  const { answer, text } = await fetched(path, { headers, signal: AbortSignal.timeout(WITHIN_MS) });
  return answer.status === 304 ? before : { json: read(answer, text), tag: answer.headers.get("ETag") };
}

/** Resolves to what was asked for, or to null where that is not there (any more). */
export const ifThere = (asked) =>
  asked.catch((error) => {
    if (error.code !== "NOT_FOUND") throw error;
    return null;
  });

/** Asks as `fetch` is asked, and returns the JSON of the answer; throws an ApiError. */
export async function told(path, options) {
  const { answer, text } = await fetched(path, options);
  return read(answer, text);
}

let underWay = 0;
let answeredAt = 0;

/** Returns for how long nothing has been asked for: 0 while an answer is waited for. */
export const unaskedMs = () => (underWay ? 0 : performance.now() - answeredAt);

async function fetched(path, options) {
  underWay += 1;
  try {
    const answer = await fetch(path, options);
    return { answer, text: await answer.text() };
  } catch {
    throw unreachable();
  } finally {
    underWay -= 1;
    answeredAt = performance.now();
  }
}

/** Returns the JSON of an answer with this text; throws what the API refused. */
export function read(answer, text) {
  const json = parsed(text);
  if (answer.ok) return json;
  throw new ApiError(
    json?.code ?? `HTTP ${answer.status}`,
    json?.message ?? answer.statusText,
    json?.details,
  );
}

/** Returns what is thrown where nothing was answered. */
export const unreachable = () => new ApiError("UNREACHABLE", "The server did not answer. Look at the bar above, then try again.");

/** Returns a path with parts that are escaped, and a query of what is neither null nor blank. */
export function path(parts, query = {}) {
  const given = Object.entries(query).filter(
    ([, value]) => value !== null && value !== undefined && value !== "",
  );
  const tail = given.length ? `?${new URLSearchParams(given)}` : "";
  return `api/v1/${parts.map(encodeURIComponent).join("/")}${tail}`;
}

function parsed(text) {
  try {
    return text === "" ? null : JSON.parse(text);
  } catch {
    return null;
  }
}
