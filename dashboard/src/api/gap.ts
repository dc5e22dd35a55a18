/** Routes that the pages use and the running API does not describe yet, as the contract states them. Shrinks to nothing. */
import type { Schemas as S } from "./client";
type Query = Record<string, unknown>;

export interface Page<T> {
  items: T[];
  next_cursor: string | null;
}

interface Get<T, Path = never> {
  get: {
    parameters: { query?: Query; header?: never; path?: Path; cookie?: never };
    requestBody?: never;
    responses: { 200: { headers: Record<string, unknown>; content: { "application/json": T } } };
  };
  put?: never; options?: never; head?: never; patch?: never; trace?: never;
}
interface Post<B, T, Path = never> {
  post: {
    parameters: { query?: never; header?: never; path?: Path; cookie?: never };
    requestBody: { content: { "application/json": B } };
    responses: { 200: { headers: Record<string, unknown>; content: { "application/json": T } } };
  };
}
interface Delete<Path = never> {
  delete: {
    parameters: { query?: never; header?: never; path?: Path; cookie?: never };
    requestBody?: never;
    responses: { 204: { headers: Record<string, unknown>; content?: never } };
  };
}

export interface Session {
  user: { id: number; email: string; role: "viewer" | "reviewer" | "admin"; time_zone: string | null };
  csrf_token: string;
}

export interface Overview {
  verdict: { level: "ok" | "degraded" | "critical" | "unknown"; text: string; reasons: string[] };
  checked_at: string;
  needs_you: { kind: "approval" | "alert" | "mail" | "job"; id: number; title: string; app: string | null; since: string }[];
  apps: {
    name: string;
    checked_at: string | null;
    status: string;
    open_alerts: number;
    metrics: { name: string; value: number | null; expected_low: number | null; expected_high: number | null; unit: string }[];
  }[];
  open_alerts: S["AlertRecord"][];
  rollouts: S["RolloutRecord"][];
}

export interface Mark {
  at: string;
  kind: string;
  label: string;
  subject?: string;
}

export interface Series {
  app: string;
  metric: string;
  unit: string;
  step_s: number;
  points: { at: string; value: number | null; low: number | null; high: number | null; count: number }[];
  marks: Mark[];
}

export interface Trends {
  app: string;
  window: string;
  metrics: {
    name: string;
    unit: string;
    mean: number | null;
    previous_mean: number | null;
    change: number | null;
    points: { at: string; value: number | null }[];
  }[];
  marks: Mark[];
}

export interface Calibration {
  points: {
    proposal_id: number; title: string; predicted_pct: number; predicted_interval: number[];
    measured_pct: number | null; measured_interval: number[] | null;
  }[];
  coverage: number | null;
  bias: number | null;
}

export interface QueueSummary {
  queue: string;
  state: string;
  count: number;
  oldest_age_s: number | null;
}

export interface Evidence {
  at: string;
  metric: string;
  log_e_worse: number | null;
  log_e_fine: number | null;
  estimate: number | null;
  low: number | null;
  high: number | null;
}

export interface Gap {
  "/api/v1/session": Get<Session> & Post<{ email: string; password: string }, Session> & Delete;
  "/api/v1/overview": Get<Overview>;
  "/api/v1/metrics/{app}": Get<Series, { app: string }>;
  "/api/v1/alerts": Get<Page<S["AlertRecord"]>>;
  "/api/v1/proposals": Get<Page<S["ProposalRecord"]>>;
  "/api/v1/validations": Get<Page<S["ValidationRecord"]>>;
  "/api/v1/rollouts": Get<Page<S["RolloutRecord"]>>;
  "/api/v1/rollouts/{rollout_id}": Get<S["RolloutDetail"] & { evidence?: Evidence[] }, { rollout_id: number }>;
  "/api/v1/evaluations": Get<Page<S["EvaluationRecord"]>>;
  "/api/v1/evaluations/trends": Get<Trends>;
  "/api/v1/impact": Get<Page<S["ImpactRecord"]>>;
  "/api/v1/impact/calibration": Get<Calibration>;
  "/api/v1/jobs": Get<Page<S["JobRecord"]>>;
  "/api/v1/jobs/summary": Get<QueueSummary[]>;
  "/api/v1/jobs/{job_id}/tree": Get<S["JobNode"], { job_id: number }>;
  "/api/v1/mail": Get<Page<S["MailRecord"]>>;
  "/api/v1/audit": Get<Page<S["AuditRecord"]>>;
  "/api/v1/users": Get<Page<{ id: number; email: string; role: string; disabled_at: string | null; created_at: string }>>;
  "/api/v1/pause": Get<{ queue: string | null; reason: string; by: string; since: string }[]> &
    Post<{ queue: string | null; reason: string }, unknown>;
  "/api/v1/pause/{queue}": Delete<{ queue: string }>;
  "/api/v1/proposals/{proposal_id}/approve": Post<{ reason: string; change_hash: string }, S["ProposalDetail"], { proposal_id: number }>;
  "/api/v1/proposals/{proposal_id}/reject": Post<{ reason: string; change_hash: string }, S["ProposalDetail"], { proposal_id: number }>;
}
