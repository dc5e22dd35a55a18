/** The frame of every page: navigation, what is live, who is signed in, the keys. */
import { useQueryClient } from "@tanstack/react-query";
import { Link, Outlet, useNavigate, useRouter, useRouterState } from "@tanstack/react-router";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { $api, api, onSignedOut, useToken } from "../api/client";
import { sessionQuery, useUser } from "../api/session";
import { useLive } from "../live/live";
import { Key, Sign, type Tone } from "./basics";
import { Dialog } from "./dialog";
import {
  IconAlerts, IconAuto, IconImpact, IconJobs, IconMail, IconMoon, IconMore, IconOverview, IconProposals, IconRollouts,
  IconSettings, IconSun, IconTrends, IconValidations, IconWarn,
} from "./icons";
import { onKeys } from "./keys";

const PLACES = [
  ["/", "Overview", IconOverview, "o"],
  ["/alerts", "Alerts", IconAlerts, "l"],
  ["/proposals", "Proposals", IconProposals, "p"],
  ["/validations", "Validations", IconValidations, "v"],
  ["/rollouts", "Rollouts", IconRollouts, "r"],
  ["/evaluations", "Trends", IconTrends, "t"],
  ["/impact", "Impact", IconImpact, "i"],
  ["/jobs", "Jobs", IconJobs, "j"],
  ["/mail", "Mail", IconMail, "m"],
  ["/settings", "Settings", IconSettings, "s"],
] as const;
const ON_PHONE = 4;

function useWaiting(): Record<string, number> {
  const { data } = $api.useQuery("get", "/api/v1/overview", {}, { staleTime: 5_000 });
  if (!data) return {};
  const of = (kind: string) => data.needs_you.filter((each) => each.kind === kind).length;
  return { "/alerts": data.open_alerts.length, "/proposals": of("approval"), "/jobs": of("job"), "/mail": of("mail") };
}

function Place({ place, waiting, onGo, tall = false }: { place: (typeof PLACES)[number]; waiting: number; onGo?: () => void; tall?: boolean }) {
  const [to, name, Icon] = place;
  return (
    <Link
      to={to}
      onClick={onGo}
      activeOptions={{ exact: to === "/" }}
      className={
        tall
          ? "flex flex-1 flex-col items-center gap-0.5 px-1 py-1.5 text-2xs text-muted aria-[current=page]:text-accent"
          : "flex min-h-8 items-center gap-2.5 rounded-md px-2.5 text-sm text-muted hover:bg-sunken hover:text-text aria-[current=page]:bg-accent-soft aria-[current=page]:font-medium aria-[current=page]:text-accent max-lg:min-h-11"
      }
    >
      <span className="relative">
        <Icon width={tall ? 19 : 16} height={tall ? 19 : 16} />
        {tall && waiting > 0 && <span className="absolute -end-1 -top-0.5 size-2 rounded-full bg-bad" />}
      </span>
      <span className={tall ? "" : "flex-1"}>{name}</span>
      {!tall && waiting > 0 && (
        <span className="rounded-full bg-sunken px-1.5 text-2xs text-text">
          {waiting}
          <span className="sr-only"> waiting</span>
        </span>
      )}
      {tall && waiting > 0 && <span className="sr-only">{waiting} waiting</span>}
    </Link>
  );
}

function LiveSign() {
  const { state, silent } = useLive();
  return (
    <p role="status" className="flex items-center gap-1.5 text-xs text-muted" data-live={state}>
      {state === "stale" ? (
        <>
          <IconWarn width={13} height={13} className="text-warn" />
          <span className="font-medium text-warn">Stale</span>
          <span aria-hidden="true">no tick for {silent} s</span>
        </>
      ) : (
        <>
          <span className={`size-1.5 rounded-full ${state === "live" ? "bg-ok" : "bg-faint"}`} />
          {state === "live" ? "Live" : "Connecting"}
        </>
      )}
    </p>
  );
}

type Theme = "auto" | "light" | "dark";
const THEMES = [["auto", "Like the system", IconAuto], ["light", "Light", IconSun], ["dark", "Dark", IconMoon]] as const;

export function applyTheme(theme: string | null): void {
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

function ThemeSwitch() {
  const [theme, setTheme] = useState<Theme>(() => (localStorage.getItem("theme") as Theme | null) ?? "auto");
  const now = THEMES.findIndex(([each]) => each === theme);
  const [next, name] = THEMES[(now + 1) % 3]!;
  const Icon = THEMES[Math.max(0, now)]![2];
  return (
    <button
      type="button"
      aria-label={`Colours: ${THEMES[Math.max(0, now)]![1]}. Change to: ${name}`}
      title={`Colours: ${THEMES[Math.max(0, now)]![1]}`}
      onClick={() => {
        localStorage.setItem("theme", next);
        applyTheme(next);
        setTheme(next);
      }}
      className="rounded-md p-2 text-muted hover:bg-sunken hover:text-text"
    >
      <Icon />
    </button>
  );
}

function Person() {
  const { user } = useUser();
  const client = useQueryClient();
  const navigate = useNavigate();
  if (!user) return null;
  return (
    <div className="flex items-center justify-between gap-2 text-xs">
      <div className="min-w-0">
        <p className="truncate" title={user.email}>{user.email}</p>
        <p className="text-muted">{user.role}</p>
      </div>
      <button
        type="button"
        className="link shrink-0"
        onClick={async () => {
          await api.DELETE("/api/v1/session").catch(() => undefined);
          useToken("");
          client.clear();
          await navigate({ to: "/login" });
        }}
      >
        Sign out
      </button>
    </div>
  );
}

const KEYS: [string, string][] = [
  ["j / k", "next, previous row"], ["Enter", "open the row"], ["a", "approve (on a proposal)"], ["r", "reject (on a proposal)"],
  ["Esc", "cancel, close"], ["g then o l p v r t i j m s", "go to a page by its letter"], ["?", "these keys"],
];

export function Shell() {
  const waiting = useWaiting();
  const live = useLive();
  const navigate = useNavigate();
  const client = useQueryClient();
  const [menu, setMenu] = useState(false);
  const [keys, setKeys] = useState(false);
  const path = useRouterState({ select: (state) => state.location.pathname });
  const href = useRouterState({ select: (state) => state.location.href });
  const router = useRouter();

  // The cookie is gone: sign in and come back to where this happened.
  useEffect(
    () =>
      onSignedOut(() => {
        if (router.state.location.pathname === "/login") return;
        client.setQueryData(sessionQuery.queryKey, null);
        void navigate({ to: "/login", search: { to: router.state.location.href } });
      }),
    [client, navigate, router],
  );
  useEffect(() => setMenu(false), [href]);
  useEffect(() => {
    let going = 0;
    return onKeys((key) => {
      if (Date.now() - going < 1200) {
        going = 0;
        const place = PLACES.find((each) => each[3] === key);
        if (place) {
          void navigate({ to: place[0] });
          return true;
        }
      }
      if (key === "g") going = Date.now();
      else if (key === "?") setKeys(true);
      else if (key === "j" || key === "k") {
        const rows = [...document.querySelectorAll<HTMLElement>("[data-row]")].filter((row) => row.offsetParent);
        const now = rows.indexOf(document.activeElement as HTMLElement);
        const next = rows[key === "j" ? Math.min(rows.length - 1, now + 1) : Math.max(0, now - 1)];
        next?.focus();
        next?.scrollIntoView({ block: "nearest" });
      } else return false;
      return true;
    });
  }, [navigate]);

  return (
    <div className="lg:grid lg:min-h-dvh lg:grid-cols-[13rem_minmax(0,1fr)]">
      <a href="#main" className="sr-only z-50 rounded-md bg-accent px-3 py-2 text-on-accent focus:not-sr-only focus:fixed focus:start-3 focus:top-3">
        Skip to the content
      </a>
      <aside className="sticky top-0 hidden h-dvh flex-col border-e border-line bg-surface p-3 lg:flex">
        <Link to="/" className="mb-4 flex items-center gap-2 px-2.5 pt-1 font-semibold tracking-tight">
          <Logo />metamon
        </Link>
        <nav aria-label="Pages" className="flex flex-1 flex-col gap-0.5 overflow-y-auto">
          {PLACES.map((place) => <Place key={place[0]} place={place} waiting={waiting[place[0]] ?? 0} />)}
        </nav>
        <div className="space-y-3 border-t border-line px-2.5 pt-3">
          <div className="flex items-center justify-between">
            <LiveSign />
            <div className="-me-2 flex">
              <button type="button" aria-label="Show the keys" title="Keys" onClick={() => setKeys(true)} className="rounded-md px-2 py-1.5 hover:bg-sunken">
                <Key>?</Key>
              </button>
              <ThemeSwitch />
            </div>
          </div>
          <Person />
        </div>
      </aside>
      <header className="flex items-center justify-between border-b border-line bg-surface px-4 py-2 lg:hidden">
        <Link to="/" className="flex items-center gap-2 font-semibold tracking-tight"><Logo />metamon</Link>
        <div className="flex items-center gap-2"><LiveSign /><ThemeSwitch /></div>
      </header>
      <div className="min-w-0">
        {live.state === "stale" && (
          <div role="status" className="flex flex-wrap items-center gap-x-2 border-b border-line bg-warn-soft px-4 py-1.5 text-sm text-warn lg:px-8" data-testid="stale">
            <IconWarn />
            <b className="font-semibold">Stale</b>
            <span>The live stream is silent; this page asks again every 5 s until it speaks.</span>
          </div>
        )}
        <main id="main" tabIndex={-1} key={path} className="mx-auto max-w-[76rem] px-4 pt-5 pb-24 lg:px-8 lg:pb-16">
          <Outlet />
        </main>
      </div>
      <nav aria-label="Pages" className="fixed inset-x-0 bottom-0 z-30 flex border-t border-line bg-surface pb-[env(safe-area-inset-bottom)] lg:hidden">
        {[PLACES[0], PLACES[1], PLACES[2], PLACES[4]].map((place) => (
          <Place key={place[0]} place={place} waiting={waiting[place[0]] ?? 0} tall />
        ))}
        <button
          type="button" onClick={() => setMenu(true)} aria-haspopup="dialog"
          className="flex flex-1 flex-col items-center gap-0.5 px-1 py-1.5 text-2xs text-muted"
        >
          <IconMore width={19} height={19} />More
        </button>
      </nav>
      {menu && (
        <Dialog title="Pages" onClose={() => setMenu(false)}>
          <nav aria-label="All pages" className="mb-4 grid grid-cols-2 gap-1">
            {PLACES.filter((place) => place !== PLACES[0] || ON_PHONE).map((place) => (
              <Place key={place[0]} place={place} waiting={waiting[place[0]] ?? 0} onGo={() => setMenu(false)} />
            ))}
          </nav>
          <Person />
        </Dialog>
      )}
      {keys && (
        <Dialog title="Keys" onClose={() => setKeys(false)}>
          <dl className="space-y-2 text-sm">
            {KEYS.map(([key, does]) => (
              <div key={key} className="flex justify-between gap-4">
                <dt className="font-mono text-xs">{key}</dt>
                <dd className="text-end text-muted">{does}</dd>
              </div>
            ))}
          </dl>
        </Dialog>
      )}
    </div>
  );
}

export function Logo() {
  return (
    <svg viewBox="0 0 32 32" width="20" height="20" aria-hidden="true">
      <rect width="32" height="32" rx="7" className="fill-accent" />
      <path d="M5 18h5l3-8 5 13 3-8 1.5 3H27" fill="none" className="stroke-on-accent" strokeWidth="2.8" strokeLinecap="round" strokeLinejoin="round" />
    </svg>
  );
}

let moved = false;

/** The head of a page: its verdict is the first heading, and where a page change leads the reader. */
export function Head({
  title, tone, children, up, actions,
}: { title: string; tone?: Tone; children?: ReactNode; up?: { to: string; name: string }; actions?: ReactNode }) {
  const heading = useRef<HTMLHeadingElement>(null);
  const path = useRouterState({ select: (state) => state.location.pathname });
  useEffect(() => {
    document.title = `${title} · metamon`;
  }, [title]);
  useEffect(() => {
    // On the way from page to page the reader is led to the verdict; the first page begins with the skip link.
    if (moved) heading.current?.focus({ preventScroll: true });
    moved = true;
  }, [path]);
  return (
    <div className="mb-5">
      {up && <Link to={up.to} className="mb-1 inline-block text-xs text-muted hover:text-text hover:underline">← {up.name}</Link>}
      <div className="flex flex-wrap items-start justify-between gap-x-6 gap-y-3">
        <div className="min-w-0 max-w-[52rem]">
          <h1 ref={heading} tabIndex={-1} className="flex items-start gap-2.5 outline-none">
            {tone && <span className="mt-1"><Sign tone={tone} size={20} /></span>}
            <span className="min-w-0">{title}</span>
          </h1>
          {children && <div className="mt-1 text-sm text-muted">{children}</div>}
        </div>
        {actions && <div className="flex flex-wrap gap-2">{actions}</div>}
      </div>
    </div>
  );
}

/** The head while its page loads: as high, so that nothing jumps. */
export function HeadSkeleton() {
  return (
    <div className="mb-5" role="status" aria-label="Loading">
      <div className="skeleton mb-2 h-7 w-2/3 max-w-md" />
      <div className="skeleton h-4 w-1/2 max-w-sm" />
    </div>
  );
}

export function Panel({ title, actions, children, flush = false, id }: { title?: ReactNode; actions?: ReactNode; children: ReactNode; flush?: boolean; id?: string }) {
  return (
    <section className="panel mb-4 min-w-0 overflow-hidden" id={id}>
      {title && (
        <div className="flex min-h-11 flex-wrap items-center justify-between gap-2 border-b border-line px-4 py-1.5">
          <h2 className="text-base">{title}</h2>
          {actions}
        </div>
      )}
      <div className={flush ? "" : "p-4"}>{children}</div>
    </section>
  );
}
