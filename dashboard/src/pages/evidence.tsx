/** What research found, as a reviewer reads it: untyped in the database, so read with care. */
import type { ReactNode } from "react";
import type { Schemas } from "../api/client";
import { chance, conditions, cut, duration, number, percent } from "../lib/format";
import { Chip, Moment, TraceLink } from "../ui/basics";
import { IconCheck, IconCross } from "../ui/icons";
import { Table } from "../ui/table";

export interface Cause {
  conditions?: Record<string, string>;
  excess?: number; explained?: number; precision?: number; p_value?: number; runs?: number; failures?: number; expected?: number;
  onset?: string | null; onset_low?: string | null; onset_high?: string | null; aliases?: Record<string, string>[];
}
interface Exemplar {
  id: string; run_id: string; url: string | null; kind: "bad" | "good"; start_time: string;
  latency_ms: number | null; error: string | null; score: number | null; attributes: Record<string, string>;
}
interface ErrorPattern { id: string; kind: string; template: string; frames?: string[]; bad: number; baseline: number; share: number }
interface Health { attribute: string; value: string; bad_runs: number; bad_failures: number; baseline_runs: number; baseline_failures: number }
interface ConfigChange { id: string; at: string; actor: string; key: string; before: unknown; after: unknown }
export interface Packet {
  exemplars?: Exemplar[]; errors?: ErrorPattern[]; health?: Health[]; changes?: ConfigChange[];
  bad_from?: string; bad_until?: string; bad_runs?: number; bad_failures?: number; baseline_runs?: number; baseline_failures?: number; metric?: string;
}

export const packetOf = (proposal: Schemas["ProposalDetail"]) => (proposal.evidence ?? {}) as Packet;
export const causeOf = (proposal: { cause: unknown }) => (proposal.cause ?? {}) as Cause;

/** Who is hit, in numbers. */
export function Hit({ cause }: { cause: Cause }) {
  const entries = Object.entries(cause.conditions ?? {});
  return (
    <dl className="grid gap-x-6 gap-y-3 text-sm sm:grid-cols-3">
      <Item name="Who is hit">{entries.length ? <span className="flex flex-wrap gap-1">{entries.map(([key, each]) => <Chip key={key}>{key} = {each}</Chip>)}</span> : "everybody"}</Item>
      <Item name="Since">
        <Moment at={cause.onset} precise />
        {cause.onset_low && cause.onset_high && (
          <span className="text-muted"> ± {duration((Date.parse(cause.onset_high) - Date.parse(cause.onset_low)) / 2000)}</span>
        )}
      </Item>
      <Item name="How many">
        {number(cause.failures, 0)} of {number(cause.runs, 0)} runs failed <span className="text-muted">({number(cause.expected, 0)} would be usual)</span>
      </Item>
      <Item name="Explains">{percent(cause.explained)} of the excess</Item>
      <Item name="By chance">{chance(cause.p_value)}</Item>
      {!!cause.aliases?.length && <Item name="Cannot be told from">{cause.aliases.map((each) => conditions(each)).join("; ")}</Item>}
    </dl>
  );
}

function Item({ name, children }: { name: string; children: ReactNode }) {
  return <div><dt className="text-xs text-muted">{name}</dt><dd>{children}</dd></div>;
}

export function Exemplars({ packet }: { packet: Packet }) {
  const rows = packet.exemplars ?? [];
  if (!rows.length) return null;
  return (
    <>
      <h3 className="mb-1">Runs to look at</h3>
      <div className="-mx-4 mb-4">
        <Table
          caption="Runs to look at" rows={rows} id={(row) => row.id}
          columns={[
            { head: "Run", lead: true, cell: (row) => (
              <>
                <span className={`inline-flex items-center gap-1 text-xs font-medium ${row.kind === "bad" ? "text-bad" : "text-ok"}`}>
                  {row.kind === "bad" ? <IconCross width={12} height={12} /> : <IconCheck width={12} height={12} />}{row.kind === "bad" ? "bad" : "like it, good"}
                </span>
                <div>{row.url ? <TraceLink url={row.url}><code className="text-xs">…{row.run_id.slice(-8)}</code></TraceLink> : <code className="text-xs">{row.run_id}</code>}</div>
              </>
            ) },
            { head: "Started", cell: (row) => <Moment at={row.start_time} precise /> },
            { head: "Took", num: true, cell: (row) => duration(row.latency_ms === null ? null : row.latency_ms / 1000) },
            { head: "Said", cell: (row) => row.error ? <span className="line-clamp-2 max-w-md font-mono text-xs break-words">{cut(row.error.split("\n")[0] ?? "", 200)}</span> : row.score !== null ? `score ${number(row.score)}` : <span className="text-muted">no error</span> },
          ]}
        />
      </div>
    </>
  );
}

export function Errors({ packet }: { packet: Packet }) {
  const rows = packet.errors ?? [];
  if (!rows.length) return null;
  return (
    <>
      <h3 className="mb-1">What the failures say</h3>
      <ul className="mb-4 space-y-2">
        {rows.slice(0, 5).map((row) => (
          <li key={row.id} className="rounded-md bg-sunken p-2.5">
            <p className="font-mono text-xs break-words">{row.kind && <b>{row.kind}: </b>}{cut(row.template, 300)}</p>
            <p className="mt-1 text-xs text-muted">
              {percent(row.share)} of the failures · {number(row.bad, 0)} now, {number(row.baseline, 0)} before{row.frames?.length ? ` · ${row.frames.slice(-2).join(" → ")}` : ""}
            </p>
          </li>
        ))}
      </ul>
    </>
  );
}

/** Each value of the attributes that were looked at, the named cause first, then by how many failures are too many. */
export function HealthBars({ packet, cause }: { packet: Packet; cause: Cause }) {
  const rows = (packet.health ?? [])
    .filter((row) => row.bad_runs > 0)
    .map((row) => ({ ...row, now: row.bad_failures / row.bad_runs, before: row.baseline_runs ? row.baseline_failures / row.baseline_runs : 0 }))
    .map((row) => ({ ...row, named: cause.conditions?.[row.attribute] === row.value, excess: (row.now - row.before) * row.bad_runs }))
    .toSorted((a, b) => Number(b.named) - Number(a.named) || b.excess - a.excess)
    .slice(0, 8);
  if (!rows.length) return null;
  const top = Math.max(...rows.map((row) => row.now), 0.01);
  return (
    <>
      <h3 className="mb-1">Failing share by attribute</h3>
      <ul className="mb-4 space-y-1">
        {rows.map((row) => {
          const { named } = row;
          return (
            <li key={row.attribute + row.value} className="grid grid-cols-[minmax(0,11rem)_1fr_4.5rem] items-center gap-2 text-xs">
              <span className={`truncate font-mono ${named ? "font-semibold" : "text-muted"}`} title={`${row.attribute} = ${row.value}`}>{row.attribute} = {row.value}</span>
              <svg role="img" aria-label={`${percent(row.now)} now, ${percent(row.before)} before, of ${row.bad_runs} runs`} className="h-3 w-full">
                <rect width="100%" height="12" rx="2" className="fill-sunken" />
                <rect width={`${(row.now / top) * 100}%`} height="12" rx="2" className={named ? "fill-bad" : "fill-faint/50"} />
                <rect x={`${Math.min(99.5, (row.before / top) * 100)}%`} width="2" height="12" className="fill-text" />
              </svg>
              <span className="text-end whitespace-nowrap">{percent(row.now)} <span className="text-faint">/ {row.bad_runs}</span></span>
            </li>
          );
        })}
      </ul>
      <p className="-mt-3 mb-4 text-2xs text-muted">The thin line is the share before.</p>
    </>
  );
}

export function ConfigChanges({ packet }: { packet: Packet }) {
  const rows = packet.changes ?? [];
  if (!rows.length) return null;
  return (
    <>
      <h3 className="mb-1">Changes of the configuration meanwhile</h3>
      <ul className="space-y-1 text-sm">
        {rows.map((row) => (
          <li key={row.id}>
            <Moment at={row.at} precise /> <Chip>{row.key}: {JSON.stringify(row.before)} → {JSON.stringify(row.after)}</Chip> <span className="text-muted">by {row.actor}</span>
          </li>
        ))}
      </ul>
    </>
  );
}
