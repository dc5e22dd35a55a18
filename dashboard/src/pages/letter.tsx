import { Link, useParams } from "@tanstack/react-router";
import { useState } from "react";
import { $api, api } from "../api/client";
import { useUser } from "../api/session";
import { words } from "../lib/format";
import { said, useAct } from "../ui/acts";
import { Button, Choice, Facts, Moment, State, toneOf } from "../ui/basics";
import { Confirm } from "../ui/dialog";
import { IconCheck, IconRetry } from "../ui/icons";
import { Head, HeadSkeleton, Panel } from "../ui/shell";
import { Failed, Skeleton } from "../ui/states";

// The mail comes as a document of its own with a policy of its own: no script, no form, no origin, nothing loaded. The
// sandbox says the same once more.
export function LetterPage() {
  const { id } = useParams({ strict: false }) as { id: string };
  const call = { params: { path: { mail_id: Number(id) } } };
  const query = $api.useQuery("get", "/api/v1/mail/{mail_id}", call);
  const { may } = useUser();
  const [view, setView] = useState<"html" | "text" | "headers">("html");
  const [verb, setVerb] = useState<"resend" | "sent" | null>(null);
  const act = useAct(
    (what: "resend" | "sent") => (what === "resend" ? api.POST("/api/v1/mail/{mail_id}/resend", call) : api.POST("/api/v1/mail/{mail_id}/mark-sent", call)),
    () => setVerb(null),
  );
  const mail = query.data;
  if (!mail) return query.isError ? <><Head title={`Mail ${id}`} up={{ to: "/mail", name: "Mail" }} /><Failed error={query.error} retry={() => void query.refetch()} /></> : <><HeadSkeleton /><div className="panel"><Skeleton lines={14} /></div></>;
  return (
    <>
      <Head
        title={mail.subject} tone={toneOf(mail.state)} up={{ to: "/mail", name: "Mail" }}
        actions={may("admin") && (mail.state === "failed" || mail.state === "unknown") && (
          <>
            {mail.state === "unknown" && <Button onClick={() => setVerb("sent")}><IconCheck />It arrived</Button>}
            <Button onClick={() => setVerb("resend")}><IconRetry />Send again</Button>
          </>
        )}
      >
        <span className="inline-flex flex-wrap items-center gap-2"><State of={mail.state} />{words(mail.kind)} to {mail.to}</span>
        {mail.error && <p className="text-bad">{mail.error}</p>}
      </Head>
      <div className="grid items-start gap-4 xl:grid-cols-[minmax(0,1fr)_19rem]">
        <Panel flush title="Content" actions={<Choice label="View" value={view} onChange={setView} options={[["html", "As sent"], ["text", "Plain text"], ["headers", "Headers"]]} />}>
          {view === "html" && <iframe title={`Mail: ${mail.subject}`} sandbox="" referrerPolicy="no-referrer" src={`/api/v1/mail/${mail.id}/page`} className="block h-[70dvh] w-full border-0 bg-white" />}
          {view === "text" && <pre className="max-h-[70dvh] overflow-auto p-4 text-xs whitespace-pre-wrap" tabIndex={0}>{mail.text}</pre>}
          {view === "headers" && <div className="p-4"><Facts columns={1} items={[...Object.entries(mail.headers), ["Message-ID", mail.message_id] as [string, string]].map(([name, value]) => [name, <code key={name} className="text-xs break-all">{value}</code>])} /></div>}
        </Panel>
        <Panel title="Facts">
          <Facts columns={1} items={[
            ["Made", <Moment key="made" at={mail.created_at} precise />],
            ["Sent", <Moment key="sent" at={mail.sent_at} precise />],
            ["Attempts", mail.attempts],
            ["App", mail.app ?? "–"],
            ["Alert", mail.alert_id ? <Link key="alert" to="/alerts/$id" params={{ id: String(mail.alert_id) }} className="link">{mail.alert_id}</Link> : "–"],
          ]} />
        </Panel>
      </div>
      {verb && (
        <Confirm
          title={verb === "resend" ? "Send this mail again?" : "Did this mail arrive?"} action={verb === "resend" ? "Send again" : "It arrived"}
          effect={<p>{verb === "resend" ? `${mail.to} gets it once more, with the same Message-ID${mail.state === "unknown" ? "; it may already have arrived" : ""}.` : "It counts as sent, and is not sent again."}</p>}
          busy={act.isPending} error={said(act.error)} onConfirm={() => act.mutate(verb)} onClose={() => setVerb(null)}
        />
      )}
    </>
  );
}
