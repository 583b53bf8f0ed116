// Lets a test drive a client of ours: one JSON request a line on standard input, one JSON answer a line on output.
// Arguments: RPC URL, WebSocket URL, path of the IDL, path of a JSON object of secret keys by name.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

export const [rpcUrl, wsUrl, idlPath, walletsPath] = process.argv.slice(2);
export const idl = JSON.parse(readFileSync(idlPath, "utf8"));
export const wallets = Object.entries(JSON.parse(readFileSync(walletsPath, "utf8")))
  .map(([name, key]) => [name, Uint8Array.from(key)]);

const snake = (name) => name[0].toLowerCase() + name.slice(1).replace(/[A-Z]/g, (letter) => "_" + letter.toLowerCase());

/** Snake case and plain JSON; `scalar` says what a client's own types are, undefined: not one of them. */
export function plain(value, scalar) {
  const own = scalar(value);
  if (own !== undefined) return own;
  if (ArrayBuffer.isView(value)) return [...value];
  if (Array.isArray(value)) return value.map((item) => plain(item, scalar));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [snake(key), plain(item, scalar)]));
}

export async function drive({ call, fetch }) {
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    console.log(JSON.stringify(request.call ? await call(request) : await fetch(request)));
  }
  process.exit(0);
}
