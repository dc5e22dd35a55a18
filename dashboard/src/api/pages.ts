/** Lists that go on: one page after the other by the cursor that the answer brings. */
import { useInfiniteQuery } from "@tanstack/react-query";
import { api } from "./client";
import type { Readable } from "openapi-typescript-helpers";
import type { paths } from "./schema";

interface Page<T> {
  items: T[];
  next_cursor: string | null;
}
type Answer<P extends keyof paths> = paths[P] extends {
  get: { responses: { 200: { content: { "application/json": infer T } } } };
} ? Readable<T> : never;
/** Paths whose answer is a page. */
export type ListPath = { [P in keyof paths]: Answer<P> extends Page<unknown> ? P : never }[keyof paths];
type Item<P extends ListPath> = Answer<P> extends Page<infer T> ? T : never;

export function usePages<P extends ListPath>(path: P, query: Record<string, unknown> = {}, limit = 50) {
  const given = Object.fromEntries(Object.entries(query).filter(([, value]) => value !== undefined && value !== ""));
  const pages = useInfiniteQuery({
    queryKey: ["get", path, { query: { ...given, limit } }, "pages"],
    initialPageParam: undefined as string | undefined,
    queryFn: async ({ pageParam, signal }) => {
      const params = { query: { ...given, limit, ...(pageParam ? { cursor: pageParam } : {}) } };
      const { data } = await (api.GET as (path: string, init: unknown) => Promise<{ data?: unknown }>)(path, { params, signal });
      return data as Page<Item<P>>;
    },
    getNextPageParam: (last) => last.next_cursor ?? undefined,
    placeholderData: (before) => before,
  });
  return { ...pages, items: pages.data?.pages.flatMap((page) => page.items) };
}
