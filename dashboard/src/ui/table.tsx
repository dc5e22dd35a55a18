/** Dense tables: j and k walk through the rows' links, a phone sees cards or scrolls inside the table. */
import { Link, type LinkProps } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { Button } from "./basics";

export interface Column<T> {
  head: ReactNode;
  cell: (row: T) => ReactNode;
  num?: boolean;
  /** What the cell is called on a card; the lead has none. */
  label?: string;
  lead?: boolean;
  className?: string;
}

export function Table<T>({
  rows, columns, id, caption, cards = true,
}: { rows: T[]; columns: Column<T>[]; id: (row: T) => string | number; caption: string; cards?: boolean }) {
  return (
    <div className={cards ? "relative sm:overflow-x-auto" : "relative overflow-x-auto"} {...(cards ? {} : { tabIndex: 0, role: "region", "aria-label": caption })}>
      <table className={`grid-table ${cards ? "cards" : ""}`}>
        <caption className="sr-only">{caption}</caption>
        <thead>
          <tr>
            {columns.map((column, index) => (
              <th key={index} scope="col" className={column.num ? "num" : ""}>{column.head}</th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={id(row)} className="rows">
              {columns.map((column, index) => (
                <td
                  key={index}
                  data-label={column.label ?? (typeof column.head === "string" ? column.head : undefined)}
                  className={`${column.num ? "num" : ""} ${column.lead ? "lead" : ""} ${column.className ?? ""}`}
                >
                  {column.cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** The link of a row: what j, k and Enter go by. */
export function RowLink({ children, ...to }: LinkProps & { children: ReactNode }) {
  return (
    <Link {...to} data-row="" className="rounded-sm font-medium text-text hover:text-accent hover:underline">
      {children}
    </Link>
  );
}

export function More({ query }: { query: { hasNextPage: boolean; isFetchingNextPage: boolean; fetchNextPage: () => unknown } }) {
  if (!query.hasNextPage) return null;
  return (
    <div className="border-t border-line p-3 text-center">
      <Button look="quiet" busy={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
        {query.isFetchingNextPage ? "Loading…" : "Older ones"}
      </Button>
    </div>
  );
}
