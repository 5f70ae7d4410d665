// Sends the test vectors in a folder through the receiver in receiving.mjs, and prints what came of it as JSON.

import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

import { receive } from "./receiving.mjs";

const made = {};
for (const file of readdirSync(process.argv[2])) {
  const vector = JSON.parse(readFileSync(join(process.argv[2], file), "utf8"));
  const books = new Map();
  const answers = vector.messages.map(({ headers, body }) =>
    receive(headers, Buffer.from(body), vector.keys, vector.now, books));
  const places = [...books].map(([uid, seen]) => [uid, seen.map(({ era, sequence, hash }) => [era, sequence, hash])]);
  made[file] = { answers, books: Object.fromEntries(places) };
}
console.log(JSON.stringify(made));
