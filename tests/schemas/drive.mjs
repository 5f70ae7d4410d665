// Sends the test vectors in a folder through the receiver in receiving.mjs, and prints what came of it as JSON.

import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

import { receive } from "./receiving.mjs";

// Ten lines remember a number, the whole receiver a list.
const book = (seen) => Array.isArray(seen) ? seen.map(({ era, sequence, hash }) => [era, sequence, hash]) : seen;

const made = {};
for (const file of readdirSync(process.argv[2])) {
  const vector = JSON.parse(readFileSync(join(process.argv[2], file), "utf8"));
  const books = new Map();
  const answers = vector.messages.map(({ headers, body }) => {
    // An array has no place for ten lines, which a web framework answers with 500.
    try {
      return receive(headers, Buffer.from(body), vector.keys, vector.now, books);
    } catch {
      return [500, {}];
    }
  });
  made[file] = { answers, books: Object.fromEntries([...books].map(([uid, seen]) => [uid, book(seen)])) };
}
console.log(JSON.stringify(made));
