// What went wrong, as the server said it (RFC 9457), or as the connection did.

/**
 * A problem document.
 * @typedef {object} Problem
 * @property {string} type what a program looks at: `urn:tidings:problem:invalid-field`
 * @property {string} title the same in words
 * @property {number} status the HTTP status, or what stands for the same
 * @property {string} detail what it was this time, for people
 * @property {{ field: string, detail: string }[]} [errors] the fields that were not as expected
 */

/** A command that was refused, or a connection that cannot be. */
export class TidingsError extends Error {
  /** @type {Problem} */
  problem;

  /** @param {Problem} problem */
  constructor(problem) {
    super(problem.detail || problem.title);
    this.name = "TidingsError";
    this.problem = problem;
  }

  /** The last part of the problem's type: `invalid-field`. */
  get code() {
    return this.problem.type.slice(this.problem.type.lastIndexOf(":") + 1);
  }
}

/**
 * A problem that this side has noticed.
 * @param {string} code
 * @param {string} detail
 */
export function ownProblem(code, detail) {
  return new TidingsError({ type: `urn:tidings:client:${code}`, title: detail, status: 0, detail });
}

/**
 * The problem that an HTTP answer reports.
 * @param {Response} response
 */
export async function problemOf(response) {
  const text = await response.text().catch(() => "");
  try {
    const problem = JSON.parse(text);
    if (typeof problem.type === "string") return new TidingsError(problem);
  } catch {
    // Something between us and the server has answered: its status says enough.
  }
  const detail = `the answer was ${response.status} ${response.statusText}`.trim();
  return new TidingsError({ type: "about:blank", title: detail, status: response.status, detail });
}

/**
 * After how many milliseconds an HTTP answer wants to be asked again.
 * @param {Response} response
 */
export function retryAfterMs(response) {
  return (Number(response.headers.get("retry-after")) || 0) * 1000;
}
