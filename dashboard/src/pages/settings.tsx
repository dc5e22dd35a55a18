import { useNavigate, useSearch } from "@tanstack/react-router";
import { useState } from "react";
import { $api, api, type Schemas } from "../api/client";
import { usePages } from "../api/pages";
import { useUser } from "../api/session";
import { cut } from "../lib/format";
import type { Filters } from "../router";
import { said, useAct } from "../ui/acts";
import { Ago, Button, Chip, Choice, Facts, Moment } from "../ui/basics";
import { Confirm, Dialog } from "../ui/dialog";
import { IconLock } from "../ui/icons";
import { Head, Panel } from "../ui/shell";
import { Empty, Failed, Loaded, Skeleton } from "../ui/states";
import { More, Table } from "../ui/table";

const TABS = [["apps", "Apps"], ["people", "People"], ["tokens", "Tokens"], ["audit", "Audit log"], ["settings", "Settings"]] as const;
const list = <T,>(data: T[] | { items: T[] }): T[] => (Array.isArray(data) ? data : data.items);

function Apps() {
  const query = $api.useQuery("get", "/api/v1/apps");
  return (
    <Loaded query={query}>
      {(data) => {
        const apps = list(data as unknown as Schemas["AppRecord"][]);
        return apps.length === 0 ? <div className="panel"><Empty title="No app is watched yet"><code>metamon apps add my-app --sla-ms 3000</code></Empty></div> : (
          <>
            {apps.map((app) => (
              <Panel key={app.id} title={app.name}>
                <Facts items={[
                  ["Source", app.source], ["Project", app.project], ["SLA", `${app.sla_ms} ms`], ["Time zone", app.timezone],
                  ["Mails go to", app.notify.length ? app.notify.join(", ") : "nobody"], ["Watched", app.enabled ? "yes" : "no"],
                  ["What passed", app.policy.length ? `is decided by ${app.policy.map((rule) => String(rule["name"])).join(", ")}` : "low impact is approved, the rest asks a person"],
                ]} />
                <h3 className="mt-4 mb-1">Configuration</h3>
                <div className="-mx-4">
                  <Table
                    caption={`Configuration of ${app.name}`} rows={Object.keys(app.config).sort()} id={(key) => key}
                    columns={[
                      { head: "Key", lead: true, cell: (key) => <code className="text-xs">{key}</code> },
                      { head: "Value", cell: (key) => <code className="text-xs break-all">{cut(JSON.stringify(app.config[key]), 120)}</code> },
                      { head: "A proposal may", cell: (key) => {
                        const rule = app.allowed[key] as { impact?: string; values?: unknown[]; minimum?: number; maximum?: number } | undefined;
                        if (!rule) return <span className="text-muted">not change it</span>;
                        return <span>set {rule.values ? rule.values.map(String).join(", ") : `${rule.minimum ?? "…"} to ${rule.maximum ?? "…"}`} <span className="text-muted">({rule.impact} impact)</span></span>;
                      } },
                    ]}
                  />
                </div>
              </Panel>
            ))}
          </>
        );
      }}
    </Loaded>
  );
}

function People() {
  const query = usePages("/api/v1/users");
  return (
    <Panel title="People" flush>
      {query.items ? (
        <>
          <Table
            caption="People" rows={query.items} id={(row) => row.id}
            columns={[
              { head: "Email", lead: true, cell: (row) => <b className="font-medium break-all">{row.email}</b> },
              { head: "Role", cell: (row) => row.role },
              { head: "Since", num: true, cell: (row) => <Moment at={row.created_at} /> },
              { head: "Disabled", num: true, cell: (row) => (row.disabled_at ? <Ago at={row.disabled_at} /> : "no") },
            ]}
          />
          <p className="border-t border-line px-4 py-2 text-xs text-muted">Add one: <code>metamon users create you@example.com --role reviewer</code></p>
        </>
      ) : query.isError ? <Failed error={query.error} /> : <Skeleton lines={4} />}
    </Panel>
  );
}

function Tokens() {
  const query = $api.useQuery("get", "/api/v1/tokens");
  const [made, setMade] = useState<string | null>(null);
  const [going, setGoing] = useState<{ id: number; name: string } | null>(null);
  const [scope, setScope] = useState<"ingest" | "viewer" | "reviewer" | "admin">("ingest");
  const create = useAct(async (name: string) => {
    const { data } = await api.POST("/api/v1/tokens", { body: { name, scope } });
    setMade(data?.token ?? null);
  });
  const revoke = useAct((id: number) => api.DELETE("/api/v1/tokens/{token_id}", { params: { path: { token_id: id } } }), () => setGoing(null));
  return (
    <Panel title="Tokens of machines" flush>
      <Loaded query={query} lines={4}>
        {(data) => (
          <Table
            caption="Tokens" rows={list(data as unknown as Schemas["TokenRecord"][])} id={(row) => row.id}
            columns={[
              { head: "Name", lead: true, cell: (row) => <><b className="font-medium">{row.name}</b><div className="text-xs text-muted">by {row.created_by}</div></> },
              { head: "Begins with", cell: (row) => <code className="text-xs">{row.prefix}…</code> },
              { head: "Scope", cell: (row) => row.scope },
              { head: "Last used", num: true, cell: (row) => <Ago at={row.last_used_at} /> },
              { head: <span className="sr-only">Revoke</span>, label: "", num: true, cell: (row) => (row.revoked_at ? <span className="text-muted">revoked</span> : <button type="button" className="link text-xs" onClick={() => setGoing(row)}>Revoke<span className="sr-only"> {row.name}</span></button>) },
            ]}
          />
        )}
      </Loaded>
      <form
        className="flex flex-wrap items-end gap-2 border-t border-line p-4"
        onSubmit={(event) => {
          event.preventDefault();
          create.mutate(String(new FormData(event.currentTarget).get("name")));
          event.currentTarget.reset();
        }}
      >
        <label className="text-sm"><span className="mb-1 block font-medium">New token for</span><input name="name" required maxLength={100} placeholder="my-app" className="field" /></label>
        <label className="text-sm"><span className="mb-1 block font-medium">Scope</span>
          <select className="field" value={scope} onChange={(event) => setScope(event.target.value as "ingest")}>
            {["ingest", "viewer", "reviewer", "admin"].map((each) => <option key={each}>{each}</option>)}
          </select>
        </label>
        <Button type="submit" busy={create.isPending}>Make it</Button>
        {create.isError && <p role="alert" className="text-sm text-bad">{said(create.error)}</p>}
      </form>
      {made && (
        <Dialog title="Copy the token now" onClose={() => setMade(null)}>
          <p className="mb-2 text-sm text-muted">It is kept as a hash: nobody can show it again.</p>
          <input readOnly aria-label="Token" value={made} className="field w-full font-mono text-xs" onFocus={(event) => event.target.select()} data-autofocus="" />
        </Dialog>
      )}
      {going && (
        <Confirm
          title={`Revoke ${going.name}?`} action="Revoke" danger busy={revoke.isPending} error={said(revoke.error)}
          effect={<p>Whoever uses it is refused within seconds. It cannot be undone.</p>}
          onConfirm={() => revoke.mutate(going.id)} onClose={() => setGoing(null)}
        />
      )}
    </Panel>
  );
}

function Audit() {
  const { subject } = useSearch({ strict: false }) as Filters;
  const query = usePages("/api/v1/audit", { subject });
  return (
    <Panel title="Who decided what" flush>
      {query.items ? (
        <>
          <Table
            caption="Audit log" rows={query.items} id={(row) => row.id}
            columns={[
              { head: "What", lead: true, cell: (row) => <><b className="font-medium">{row.action}</b><div className="text-xs text-muted">{row.subject}</div></> },
              { head: "Who", className: "break-all", cell: (row) => row.actor },
              { head: "Detail", cell: (row) => <span className="line-clamp-2 max-w-md font-mono text-2xs break-all text-muted">{Object.keys(row.detail).length ? cut(JSON.stringify(row.detail), 240) : ""}</span> },
              { head: "When", num: true, cell: (row) => <Moment at={row.at} precise /> },
            ]}
          />
          <More query={query} />
        </>
      ) : query.isError ? <Failed error={query.error} /> : <Skeleton lines={8} />}
    </Panel>
  );
}

function InForce() {
  const query = $api.useQuery("get", "/api/v1/settings");
  return (
    <Panel title="Settings in force" flush>
      <Loaded query={query}>
        {(data) => (
          <Table
            caption="Settings" rows={list(data as unknown as Schemas["SettingRecord"][])} id={(row) => row.name}
            columns={[
              { head: "Name", lead: true, cell: (row) => <><code className="text-xs">METAMON_{row.name.toUpperCase()}</code><div className="text-xs text-muted">{row.description}</div></> },
              { head: "Value", cell: (row) => (row.value === null ? <span className="text-faint">unset</span> : <Chip>{cut(typeof row.value === "string" ? row.value : JSON.stringify(row.value), 120)}</Chip>) },
            ]}
          />
        )}
      </Loaded>
    </Panel>
  );
}

export function SettingsPage() {
  const { tab = "apps" } = useSearch({ strict: false }) as Filters;
  const navigate = useNavigate();
  const { may, user } = useUser();
  const Shown = { apps: Apps, people: People, tokens: Tokens, audit: Audit, settings: InForce }[tab] ?? Apps;
  return (
    <>
      <Head
        title="Settings"
        actions={<Choice label="Part" value={tab as "apps"} onChange={(next) => void navigate({ to: "/settings", search: { tab: next } as never })} options={TABS} />}
      >
        What is configured, who may do what, and who did. The command line changes it.
      </Head>
      {tab !== "apps" && !may("admin") ? (
        <div className="panel"><Empty title="Only admins see this"><IconLock className="mx-auto mb-2" />{user?.email} is a {user?.role}.</Empty></div>
      ) : <Shown />}
    </>
  );
}
