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
type Listed<A> = A extends Page<infer T> ? T : A extends (infer T)[] ? T : never;
/** Paths whose answer is a page, or a plain list: that is a page without a next one. */
export type ListPath = { [P in keyof paths]: [Listed<Answer<P>>] extends [never] ? never : P }[keyof paths];
type Item<P extends ListPath> = Listed<Answer<P>>;

export function usePages<P extends ListPath>(path: P, query: Record<string, unknown> = {}, limit = 50) {
  const given = Object.fromEntries(Object.entries(query).filter(([, value]) => value !== undefined && value !== ""));
  const pages = useInfiniteQuery({
    queryKey: ["get", path, { query: { ...given, limit } }, "pages"],
    initialPageParam: undefined as string | undefined,
    queryFn: async ({ pageParam, signal }) => {
      const params = { query: { ...given, limit, ...(pageParam ? { cursor: pageParam } : {}) } };
      const { data } = await (api.GET as (path: string, init: unknown) => Promise<{ data?: unknown }>)(path, { params, signal });
      return (Array.isArray(data) ? { items: data, next_cursor: null } : data) as Page<Item<P>>;
    },
    getNextPageParam: (last) => last.next_cursor ?? undefined,
    placeholderData: (before) => before,
  });
  return { ...pages, items: pages.data?.pages.flatMap((page) => page.items) };
}
