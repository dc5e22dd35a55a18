import { useQueryClient } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { api, Problem, useToken } from "../api/client";
import { sessionQuery } from "../api/session";
import { duration } from "../lib/format";
import { Button } from "../ui/basics";
import { Logo } from "../ui/shell";

export function Login() {
  const { to } = useSearch({ strict: false }) as { to?: string };
  const client = useQueryClient();
  const navigate = useNavigate();
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  useEffect(() => {
    document.title = "Sign in · metamon";
  }, []);

  const submit = async (form: HTMLFormElement) => {
    const fields = new FormData(form);
    setBusy(true);
    setError(null);
    try {
      const body = { email: String(fields.get("email")), password: String(fields.get("password")) };
      const { data } = await api.POST("/api/v1/session", { body });
      useToken(data!.csrf_token);
      client.clear();
      client.setQueryData(sessionQuery.queryKey, data!);
      await navigate({ href: to ?? "/" } as never);
    } catch (problem) {
      if (problem instanceof Problem && problem.status === 429) {
        const wait = Number(problem.more.retry_after ?? 0);
        setError(`Too many attempts. Try again ${wait ? `in ${duration(wait)}` : "in a moment"}.`);
      } else if (problem instanceof Problem && problem.status === 401) {
        setError("This email and password do not belong together.");
      } else {
        setError(problem instanceof Error ? problem.message : "The sign-in failed.");
      }
      setBusy(false);
    }
  };

  return (
    <main className="grid min-h-dvh place-items-center p-4">
      <div className="w-full max-w-sm">
        <h1 className="mb-1 flex items-center gap-2.5"><Logo />Sign in to metamon</h1>
        <p className="mb-5 text-sm text-muted">
          {to && to !== "/" ? "You will come back to where you were. What you typed is kept." : "Meta-monitoring for your LLM applications."}
        </p>
        <form
          className="panel space-y-4 p-5"
          onSubmit={(event) => {
            event.preventDefault();
            void submit(event.currentTarget);
          }}
        >
          <div>
            <label htmlFor="email" className="mb-1 block text-sm font-medium">Email</label>
            <input id="email" name="email" type="email" autoComplete="username" required autoFocus className="field min-h-10 w-full" />
          </div>
          <div>
            <label htmlFor="password" className="mb-1 block text-sm font-medium">Password</label>
            <input id="password" name="password" type="password" autoComplete="current-password" required className="field min-h-10 w-full" />
          </div>
          <div role="alert" className={error ? "rounded-md bg-bad-soft p-2.5 text-sm text-bad" : ""}>{error}</div>
          <Button type="submit" look="main" busy={busy} className="min-h-10 w-full">{busy ? "Signing in…" : "Sign in"}</Button>
        </form>
        <details className="mt-4 text-sm text-muted">
          <summary>No account yet?</summary>
          <p className="mt-2">
            On the machine that runs the fleet: <code className="text-xs">metamon users create you@example.com --role admin</code>
          </p>
        </details>
      </div>
    </main>
  );
}
