/** The one way to the API: typed by its schema, errors as problems, the CSRF token on every write. */
import createFetch, { type Middleware } from "openapi-fetch";
import createHooks from "openapi-react-query";
import type { Readable } from "openapi-typescript-helpers";
import type { components, paths } from "./schema";

/** What answers hold. Pairs are lists of numbers here, as the client hands them over. */
export type Schemas = { [Name in keyof components["schemas"]]: Readable<components["schemas"][Name]> };

/** An answer that is no success. Status 0: nobody answered. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly more: Record<string, unknown> = {},
  ) {
    super(message);
    this.name = "Problem";
  }
}

let csrf = "";
const signedOut = new Set<() => void>();

/** Every write from now on carries this token. */
export function useToken(token: string): void {
  csrf = token;
}

/** Be told when the API says that nobody is signed in any more. */
export function onSignedOut(listener: () => void): () => void {
  signedOut.add(listener);
  return () => signedOut.delete(listener);
}

/** Turn an answer into the problem that it states. */
export async function problemOf(response: Response): Promise<Problem> {
  let body: Record<string, unknown> = {};
  try {
    body = (await response.clone().json()) as Record<string, unknown>;
  } catch {
    // a proxy's page is no problem+json
  }
  const said = typeof body.detail === "string" ? body.detail : typeof body.title === "string" ? body.title : "";
  const wait = response.headers.get("Retry-After");
  if (wait) body = { ...body, retry_after: Number(wait) };
  return new Problem(response.status, said || `the server answered ${response.status}`, body);
}

const rules: Middleware = {
  onRequest({ request }) {
    if (!["GET", "HEAD"].includes(request.method) && csrf) request.headers.set("X-CSRF-Token", csrf);
    return request;
  },
  async onResponse({ request, response }) {
    if (response.ok || response.status === 304) return response;
    const problem = await problemOf(response);
    if (problem.status === 401 && !request.url.endsWith("/api/v1/session")) signedOut.forEach((tell) => tell());
    throw problem;
  },
  onError({ error }) {
    if (error instanceof DOMException && error.name === "AbortError") return undefined;
    return new Problem(0, "the API does not answer");
  },
};

export const api = createFetch<paths>({ baseUrl: "", credentials: "same-origin" });
api.use(rules);

/** Queries and mutations; their keys are [method, path, parameters]. */
export const $api = createHooks(api);
