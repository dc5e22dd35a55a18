/** Which address shows which page; every page is a chunk of its own. */
import { QueryClient } from "@tanstack/react-query";
import { createRootRouteWithContext, createRoute, createRouter, lazyRouteComponent, Link, Outlet, redirect } from "@tanstack/react-router";
import { Problem } from "./api/client";
import { sessionQuery } from "./api/session";
import { Live } from "./live/live";
import { Head, HeadSkeleton, Shell } from "./ui/shell";
import { Failed, Skeleton } from "./ui/states";

export const client = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 2_000,
      refetchOnWindowFocus: true,
      retry: (failures, error) => failures < 2 && !(error instanceof Problem && error.status >= 400 && error.status < 500),
      retryDelay: (attempt) => Math.min(1000 * 2 ** attempt, 5000),
    },
  },
});

const root = createRootRouteWithContext<{ client: QueryClient }>()({ component: Outlet });

/** Only a path on this page may be come back to: never another host. */
export function safe(to: unknown): string {
  return typeof to === "string" && /^\/(?![/\\])/.test(to) && !to.startsWith("/login") ? to : "/";
}

const login = createRoute({
  getParentRoute: () => root,
  path: "/login",
  validateSearch: (search: Record<string, unknown>): { to?: string } => (search.to ? { to: safe(search.to) } : {}),
  component: lazyRouteComponent(() => import("./pages/login"), "Login"),
});

const signedIn = createRoute({
  getParentRoute: () => root,
  id: "signed-in",
  beforeLoad: async ({ context, location }) => {
    const session = await context.client.ensureQueryData(sessionQuery);
    if (!session) throw redirect({ to: "/login", search: { to: location.href } });
  },
  component: () => (
    <Live>
      <Shell />
    </Live>
  ),
  errorComponent: ({ error, reset }) => <main className="mx-auto max-w-xl p-8"><Failed error={error} retry={() => location.reload() ?? reset()} /></main>,
});

const text = (value: unknown): string | undefined => (typeof value === "string" && value ? value : typeof value === "number" ? String(value) : undefined);
export interface Filters {
  app?: string;
  state?: string;
  severity?: string;
  kind?: string;
  queue?: string;
  range?: string;
  subject?: string;
  tab?: string;
}
const filters = (search: Record<string, unknown>): Filters =>
  Object.fromEntries(
    ["app", "state", "severity", "kind", "queue", "range", "subject", "tab"].map((name) => [name, text(search[name])]).filter(([, value]) => value),
  );

const list = <P extends string>(path: P, load: () => Promise<Record<string, unknown>>, name: string) =>
  createRoute({
    getParentRoute: () => signedIn,
    path,
    validateSearch: filters,
    component: lazyRouteComponent(load as () => Promise<Record<string, never>>, name as never),
  });

const routes = [
  list("/", () => import("./pages/overview"), "OverviewPage"),
  list("/alerts", () => import("./pages/alerts"), "AlertsPage"),
  list("/alerts/$id", () => import("./pages/alert"), "AlertPage"),
  list("/proposals", () => import("./pages/proposals"), "ProposalsPage"),
  list("/proposals/$id", () => import("./pages/proposal"), "ProposalPage"),
  list("/validations", () => import("./pages/validations"), "ValidationsPage"),
  list("/validations/$id", () => import("./pages/validation"), "ValidationPage"),
  list("/rollouts", () => import("./pages/rollouts"), "RolloutsPage"),
  list("/rollouts/$id", () => import("./pages/rollout"), "RolloutPage"),
  list("/evaluations", () => import("./pages/trends"), "TrendsPage"),
  list("/impact", () => import("./pages/impact"), "ImpactPage"),
  list("/jobs", () => import("./pages/jobs"), "JobsPage"),
  list("/jobs/$id", () => import("./pages/job"), "JobPage"),
  list("/mail", () => import("./pages/mail"), "MailPage"),
  list("/mail/$id", () => import("./pages/letter"), "LetterPage"),
  list("/traces/$id", () => import("./pages/trace"), "TracePage"),
  list("/settings", () => import("./pages/settings"), "SettingsPage"),
] as const;

export const router = createRouter({
  routeTree: root.addChildren([login, signedIn.addChildren(routes as unknown as (typeof routes)[number][])]),
  context: { client },
  defaultPreload: "intent",
  defaultPendingMs: 150,
  scrollRestoration: true,
  defaultPendingComponent: () => (
    <>
      <HeadSkeleton />
      <Skeleton />
    </>
  ),
  defaultErrorComponent: ({ error }) => <Failed error={error} retry={() => location.reload()} />,
  defaultNotFoundComponent: () => (
    <main className="mx-auto max-w-xl p-8">
      <Head title="There is no such page"><Link to="/" className="link">Go to the overview</Link></Head>
    </main>
  ),
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
