/** The browser's own modal dialog: it keeps the focus, makes the rest inert and closes on Esc, without a library. */
import { type ReactNode, useEffect, useId, useRef } from "react";
import { Button } from "./basics";
import { IconCross } from "./icons";

export function Dialog({
  title, onClose, children, wide = false,
}: { title: string; onClose: () => void; children: ReactNode; wide?: boolean }) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const dialog = ref.current!;
    const before = document.activeElement;
    if (!dialog.open) dialog.showModal();
    dialog.querySelector<HTMLElement>("[data-autofocus]")?.focus();
    return () => {
      dialog.close();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={ref}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onMouseDown={(event) => event.target === ref.current && onClose()}
      className={`m-auto max-h-[92dvh] w-[calc(100vw-1.5rem)] overflow-y-auto rounded-lg border border-line bg-surface
        shadow-(--shadow-high) ${wide ? "max-w-2xl" : "max-w-lg"}`}
    >
      <div className="p-5">
        <div className="mb-3 flex items-start justify-between gap-4">
          <h2 id={id}>{title}</h2>
          <button type="button" onClick={onClose} aria-label="Close" className="-m-1.5 rounded-md p-1.5 text-muted hover:bg-sunken">
            <IconCross />
          </button>
        </div>
        {children}
      </div>
    </dialog>
  );
}

/** Ask before something is done, and state what it does. Esc is no. */
export function Confirm({
  title, effect, action, danger = false, busy = false, error, reason, onReason, needsReason = false, onConfirm, onClose,
  disabled = false,
}: {
  title: string;
  effect: ReactNode;
  action: string;
  danger?: boolean;
  busy?: boolean;
  error?: ReactNode;
  reason?: string;
  onReason?: (reason: string) => void;
  needsReason?: boolean;
  disabled?: boolean;
  onConfirm: () => void;
  onClose: () => void;
}) {
  const id = useId();
  const missing = needsReason && !reason?.trim();
  return (
    <Dialog title={title} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (!missing && !busy && !disabled) onConfirm();
        }}
      >
        <div className="mb-4 space-y-2 rounded-md bg-sunken p-3 text-sm">{effect}</div>
        {onReason && (
          <div className="mb-4">
            <label htmlFor={id} className="mb-1 block text-sm font-medium">
              Reason {needsReason ? "" : <span className="font-normal text-muted">(optional, goes on record)</span>}
            </label>
            <textarea
              id={id}
              className="field"
              rows={3}
              maxLength={1000}
              value={reason}
              data-autofocus=""
              onChange={(event) => onReason(event.target.value)}
              onKeyDown={(event) => {
                if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.currentTarget.form?.requestSubmit();
              }}
            />
          </div>
        )}
        {error && <div role="alert" className="mb-4 rounded-md bg-bad-soft p-3 text-sm text-bad">{error}</div>}
        <div className="flex flex-wrap justify-end gap-2">
          <Button onClick={onClose}>Cancel <kbd className="text-2xs text-muted max-sm:hidden">Esc</kbd></Button>
          <Button type="submit" look={danger ? "danger" : "main"} busy={busy} disabled={missing || disabled}>
            {busy ? "Working…" : action}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
