/** Small parts that every page uses: badges, buttons, times, links to traces, key caps. */
import type { ButtonHTMLAttributes, ReactNode } from "react";
import { useUser } from "../api/session";
import { ago, moment, words } from "../lib/format";
import { useNow } from "../live/live";
import {
  IconBad, IconCheck, IconClock, IconCross, IconDot, IconInfo, IconMinus, IconOk, IconOut, IconPause, IconPlay, IconUndo,
  IconUnknown, IconWarn,
} from "./icons";

export type Tone = "ok" | "warn" | "bad" | "info" | "quiet";

export const TEXT: Record<Tone, string> = {
  ok: "text-ok", warn: "text-warn", bad: "text-bad", info: "text-accent", quiet: "text-muted",
};
const SOFT: Record<Tone, string> = {
  ok: "bg-ok-soft text-ok", warn: "bg-warn-soft text-warn", bad: "bg-bad-soft text-bad",
  info: "bg-accent-soft text-accent", quiet: "bg-sunken text-muted",
};
const SIGN: Record<Tone, typeof IconOk> = { ok: IconOk, warn: IconWarn, bad: IconBad, info: IconInfo, quiet: IconUnknown };

/** What a state means, and the sign that says it without colour. */
const STATES: Record<string, [Tone, typeof IconOk]> = {
  critical: ["bad", IconBad], high: ["warn", IconWarn], medium: ["info", IconInfo], low: ["quiet", IconMinus],
  firing: ["bad", IconBad], pending: ["quiet", IconClock], recovering: ["warn", IconUndo], resolved: ["ok", IconCheck],
  proposed: ["quiet", IconDot], validating: ["info", IconClock], blocked: ["bad", IconCross], inconclusive: ["warn", IconUnknown],
  awaiting_approval: ["warn", IconClock], approved: ["ok", IconCheck], rejected: ["quiet", IconCross],
  rolling_out: ["info", IconPlay], implemented: ["ok", IconOk], rolled_back: ["bad", IconUndo], superseded: ["quiet", IconMinus],
  pass: ["ok", IconOk], fail: ["bad", IconBad], error: ["warn", IconWarn],
  queued: ["quiet", IconClock], running: ["info", IconPlay], finished: ["ok", IconCheck], cancelled: ["quiet", IconCross],
  paused: ["warn", IconPause], holdback: ["info", IconPlay], completed: ["ok", IconOk],
  done: ["ok", IconCheck], dead: ["bad", IconBad], sending: ["info", IconPlay], sent: ["ok", IconCheck], failed: ["bad", IconBad],
  unknown: ["warn", IconUnknown], ok: ["ok", IconOk], degraded: ["warn", IconWarn], down: ["bad", IconBad],
  success: ["ok", IconCheck], judge_error: ["warn", IconWarn],
};

export function toneOf(state: string): Tone {
  return STATES[state]?.[0] ?? "quiet";
}

/** A state as icon and word. */
export function State({ of, label, soft = true }: { of: string; label?: string; soft?: boolean }) {
  const [tone, Icon] = STATES[of] ?? ["quiet", IconDot];
  return (
    <span
      className={`inline-flex items-center gap-1 whitespace-nowrap text-xs font-medium ${
        soft ? `rounded-sm px-1.5 py-0.5 ${SOFT[tone]}` : TEXT[tone]
      }`}
    >
      <Icon width={13} height={13} />
      {label ?? words(of)}
    </span>
  );
}

/** A model's words, told apart from what was measured. React escapes them. */
export function Quoted({ text, by, from }: { text: string; by: string | null; from: string }) {
  return (
    <blockquote className="my-3 max-w-prose border-s-2 border-line-strong ps-3 text-sm break-words text-muted">
      <p className="whitespace-pre-wrap">{text}</p>
      <footer className="mt-1 text-xs">written by {by ?? "a model"} from {from}; it decides nothing</footer>
    </blockquote>
  );
}

export function Sign({ tone, size = 16 }: { tone: Tone; size?: number }) {
  const Icon = SIGN[tone];
  return <Icon width={size} height={size} className={TEXT[tone]} />;
}

/** A quiet label around a technical name: `region = emea`. */
export function Chip({ children }: { children: ReactNode }) {
  return <code className="rounded-sm border border-line bg-sunken px-1.5 py-px text-xs break-all">{children}</code>;
}

type Look = "main" | "plain" | "danger" | "quiet";
const LOOKS: Record<Look, string> = {
  main: "bg-accent text-on-accent border-transparent hover:bg-accent-strong",
  plain: "bg-surface text-text border-line-strong hover:bg-sunken",
  danger: "bg-bad text-on-bad border-transparent hover:opacity-90",
  quiet: "bg-transparent text-muted border-transparent hover:bg-sunken hover:text-text",
};

export function Button({
  look = "plain", keys, busy, children, className = "", ...rest
}: ButtonHTMLAttributes<HTMLButtonElement> & { look?: Look; keys?: string; busy?: boolean }) {
  return (
    <button
      type="button"
      {...rest}
      aria-busy={busy || undefined}
      aria-keyshortcuts={keys}
      disabled={rest.disabled || busy}
      className={`inline-flex min-h-8 items-center justify-center gap-1.5 rounded-md border px-3 text-sm font-medium
        whitespace-nowrap transition-colors disabled:cursor-not-allowed disabled:opacity-55 max-sm:min-h-10 ${LOOKS[look]} ${className}`}
    >
      {children}
      {keys && <Key tint={look === "main" || look === "danger"}>{keys}</Key>}
    </button>
  );
}

export function Key({ children, tint = false }: { children: ReactNode; tint?: boolean }) {
  return (
    <kbd
      aria-hidden={tint || undefined}
      className={`inline-grid min-w-4.5 place-items-center rounded-sm border px-1 text-2xs leading-4 uppercase max-sm:hidden ${
        tint ? "border-current/40" : "border-line-strong bg-sunken text-muted"
      }`}
    >
      {children}
    </kbd>
  );
}

/** How long ago, the exact moment on hover. */
export function Ago({ at }: { at: string | null | undefined }) {
  const { zone } = useUser();
  const now = useNow();
  if (!at) return <span className="text-faint">–</span>;
  return <time dateTime={at} title={moment(at, zone, true)}>{ago(at, now)}</time>;
}

export function Moment({ at, precise = false }: { at: string | null | undefined; precise?: boolean }) {
  const { zone } = useUser();
  if (!at) return <span className="text-faint">–</span>;
  return <time dateTime={at} className="whitespace-nowrap" title={at}>{moment(at, zone, precise)}</time>;
}

const EMBEDDED = /\/api\/v1\/runs\/([0-9a-f-]{36})$/i;

/** Where a trace can be read: our own page where it is ours; only http leads out of here. */
export function traceHref(url: string): string | null {
  const own = EMBEDDED.exec(url);
  if (own) return `/traces/${own[1]}`;
  return /^https?:\/\//i.test(url) ? url : null;
}

/** A trace opens beside this page and learns nothing of where it was opened from. */
export function TraceLink({ url, children }: { url: string; children: ReactNode }) {
  const href = traceHref(url);
  if (!href) return <span>{children}</span>;
  return (
    <a href={href} target="_blank" rel="noreferrer" className="link inline-flex items-center gap-1">
      {children}
      <IconOut width={12} height={12} />
      <span className="sr-only">(opens a new tab)</span>
    </a>
  );
}

/** Name and value, in a grid that does not jump. */
export function Facts({ items, columns = 2 }: { items: [string, ReactNode][]; columns?: 1 | 2 }) {
  return (
    <dl className={`grid gap-x-6 gap-y-1.5 text-sm ${columns === 2 ? "sm:grid-cols-2" : ""}`}>
      {items.map(([name, value]) => (
        <div key={name} className="flex items-baseline justify-between gap-4 border-b border-line/60 pb-1.5 last:border-0">
          <dt className="shrink-0 text-muted">{name}</dt>
          <dd className="min-w-0 text-end">{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** A choice of few, as buttons. */
export function Choice<T extends string>({
  label, options, value, onChange,
}: { label: string; options: readonly (readonly [T, string])[]; value: T; onChange: (value: T) => void }) {
  return (
    <div role="group" aria-label={label} className="inline-flex max-w-full overflow-x-auto rounded-md border border-line-strong bg-surface p-0.5">
      {options.map(([each, name]) => (
        <button
          key={each}
          type="button"
          aria-pressed={each === value}
          onClick={() => onChange(each)}
          className={`rounded-sm px-2.5 py-1 text-xs font-medium whitespace-nowrap max-sm:py-2 ${
            each === value ? "bg-accent-soft text-accent" : "text-muted hover:text-text"
          }`}
        >
          {name}
        </button>
      ))}
    </div>
  );
}
