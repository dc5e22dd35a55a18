/** Who is signed in, and what that person may do. */
import { queryOptions, useQuery } from "@tanstack/react-query";
import { api, Problem, type Schemas, useToken } from "./client";

type Session = Schemas["SessionRecord"];

export type Role = Session["user"]["role"];

/** null: nobody is signed in. */
export const sessionQuery = queryOptions({
  queryKey: ["session"],
  staleTime: 5 * 60_000,
  queryFn: async (): Promise<Session | null> => {
    try {
      const { data } = await api.GET("/api/v1/session");
      if (!data) return null;
      useToken(data.csrf_token);
      return data;
    } catch (error) {
      if (error instanceof Problem && error.status === 401) return null;
      throw error;
    }
  },
});

const LADDER: Role[] = ["viewer", "reviewer", "admin"];

/** The signed-in person; pages are only shown to one. */
export function useUser() {
  const { data } = useQuery(sessionQuery);
  const user = data?.user;
  const may = (role: Role) => !!user && LADDER.indexOf(user.role) >= LADDER.indexOf(role);
  return { user, zone: user?.time_zone ?? undefined, may };
}
