/** What a page shows when it has nothing to show yet, nothing at all, no leave, or bad news. */
import type { UseQueryResult } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { Problem } from "../api/client";
import { Button } from "./basics";
import { IconBad, IconCheck, IconLock, IconRetry, IconUnknown } from "./icons";

/** Grey lines where text will be: as high as what comes, so that nothing jumps. */
export function Skeleton({ lines = 6, className = "" }: { lines?: number; className?: string }) {
  return (
    <div role="status" aria-label="Loading" className={`space-y-3 p-4 ${className}`}>
      {Array.from({ length: lines }, (_, index) => (
        <div key={index} className={`skeleton h-4 ${["w-11/12", "w-3/4", "w-5/6", "w-2/3"][index % 4]}`} />
      ))}
    </div>
  );
}

function Note({ icon, title, children }: { icon: ReactNode; title: string; children?: ReactNode }) {
  return (
    <div className="mx-auto flex max-w-md flex-col items-center gap-2 px-6 py-10 text-center">
      <div className="text-faint">{icon}</div>
      <p className="font-medium">{title}</p>
      {children && <div className="text-sm text-muted">{children}</div>}
    </div>
  );
}

export function Empty({ title, children, good = false }: { title: string; children?: ReactNode; good?: boolean }) {
  return (
    <Note icon={good ? <IconCheck width={22} height={22} className="text-ok" /> : <IconUnknown width={22} height={22} />} title={title}>
      {children}
    </Note>
  );
}

export function Failed({ error, retry }: { error: unknown; retry?: () => void }) {
  const problem = error instanceof Problem ? error : null;
  if (problem?.status === 403) {
    return (
      <Note icon={<IconLock width={22} height={22} />} title="You may not see this">
        {problem.message}. An admin can change your role under Settings.
      </Note>
    );
  }
  if (problem?.status === 404) {
    return <Note icon={<IconUnknown width={22} height={22} />} title="There is no such thing">{problem.message}</Note>;
  }
  return (
    <div role="alert">
      <Note
        icon={<IconBad width={22} height={22} className="text-bad" />}
        title={problem?.status === 0 ? "The API does not answer" : "This could not be loaded"}
      >
        <p className="mb-3">
          {problem?.status === 0
            ? "It may be starting, or the network is away. This page tries again by itself."
            : error instanceof Error ? error.message : String(error)}
        </p>
        {retry && <Button onClick={retry}><IconRetry />Try again</Button>}
      </Note>
    </div>
  );
}

/** The answer of a query, or what stands in for it. What was loaded once stays while a refresh fails. */
export function Loaded<T>({
  query, lines, children,
}: { query: UseQueryResult<T, unknown>; lines?: number; children: (data: T) => ReactNode }) {
  if (query.data !== undefined) return <>{children(query.data)}</>;
  if (query.isError) return <Failed error={query.error} retry={() => void query.refetch()} />;
  return <Skeleton lines={lines} />;
}
