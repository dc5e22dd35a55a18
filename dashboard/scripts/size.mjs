// Fails where what a browser loads from dist/ is more than 250 kB gzip in all: every page, every chunk.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const LIMIT = 250_000;
const dist = new URL("../dist", import.meta.url).pathname;
const files = readdirSync(dist, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && /\.(js|css|html|svg)$/.test(entry.name))
  .map((entry) => join(entry.parentPath, entry.name))
  .map((path) => [path.slice(dist.length + 1), gzipSync(readFileSync(path), { level: 9 }).length])
  .sort((a, b) => b[1] - a[1]);
const total = files.reduce((sum, [, size]) => sum + size, 0);
for (const [path, size] of files) console.log(`${String(size).padStart(8)}  ${path}`);
console.log(`${String(total).padStart(8)}  in all, of ${LIMIT}`);
if (total > LIMIT) {
  console.error(`the dashboard is ${total - LIMIT} bytes too large`);
  process.exit(1);
}
