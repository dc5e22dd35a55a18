/** Writes: done once, with a word about how they went, and what they changed asked for again. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Problem } from "../api/client";

export function useAct<T>(act: (input: T) => Promise<unknown>, done?: () => void) {
  const client = useQueryClient();
  return useMutation<unknown, unknown, T>({
    mutationFn: act,
    onSuccess: async () => {
      await client.invalidateQueries({ predicate: ({ queryKey }) => queryKey[0] === "get" });
      done?.();
    },
  });
}

export function said(error: unknown): string | null {
  if (!error) return null;
  if (error instanceof Problem && error.status === 401) return "You were signed out. Sign in again: what you typed is kept.";
  return error instanceof Error ? error.message : String(error);
}

/** Text that survives a sign-in on the way: kept for the tab until it is sent or dropped. */
export function useDraft<T>(key: string): [T | null, (draft: T | null) => void] {
  const [draft, setDraft] = useState<T | null>(() => {
    try {
      return JSON.parse(sessionStorage.getItem(`draft:${key}`) ?? "null") as T | null;
    } catch {
      return null;
    }
  });
  return [
    draft,
    (next) => {
      if (next === null) sessionStorage.removeItem(`draft:${key}`);
      else sessionStorage.setItem(`draft:${key}`, JSON.stringify(next));
      setDraft(next);
    },
  ];
}
