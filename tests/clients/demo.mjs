// The demo as a process, the stock graphql-ws client, and PostgreSQL's stock driver.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { createClient } from "graphql-ws";
import pg from "pg";
import WebSocket from "ws";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const START_MS_MAX = 120_000;
const PATIENCE_MS = 15_000;

export const ACME = "11111111-1111-1111-1111-111111111111";
export const GLOBEX = "22222222-2222-2222-2222-222222222222";

/** The running demo, its writer silent: `{ url, sql, stop }`. */
export async function startDemo() {
  const home = await mkdtemp(`${tmpdir()}/rowcast-demo-`);
  await chmod(home, 0o755); // PostgreSQL may run as another user
  const demo = spawn(`${ROOT}/.venv/bin/python`, ["examples/demo/run.py"], {
    cwd: ROOT,
    env: { ...process.env, PORT: "0", DEMO_WRITER: "off", DEMO_FOLDER: `${home}/data` },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines = createInterface({ input: demo.stdout });
  const ended = once(demo, "exit");
  const { ready, postgres } = await within(START_MS_MAX, "the demo to be ready", announced(lines, ended));
  const database = new pg.Client({ connectionString: postgres });
  await database.connect();
  return {
    url: `${ready.replace("http", "ws")}/graphql`,
    sql: (text, values) => database.query(text, values).then(({ rows }) => rows),
    async stop() {
      await database.end();
      demo.kill("SIGTERM");
      await ended;
      await rm(home, { recursive: true, force: true });
    },
  };
}

async function announced(lines, ended) {
  const found = {};
  lines.on("line", (line) => {
    const [word, value] = line.split(" ");
    if (word === "ready" || word === "postgres") found[word] = value;
  });
  const failure = ended.then(([code]) => Promise.reject(new Error(`the demo ended with ${code}`)));
  await Promise.race([failure, eventually(() => found.ready && found.postgres)]);
  return found;
}

/** A signed-in stock client, every event of one subscription collected in `events`. */
export function follow(url, token, query, variables = {}, options = {}) {
  const client = createClient({ url, webSocketImpl: WebSocket, connectionParams: { token }, lazy: false, ...options });
  const events = [];
  let failure;
  const ended = new Promise((resolve) => {
    const sink = { next: (event) => events.push(event), error: (error) => resolve((failure = error)), complete: () => resolve() };
    client.subscribe({ query, variables }, sink);
  });
  return {
    events,
    ended,
    dispose: () => client.dispose(),
    /** The first `count` events, or the reason why they did not come. */
    async first(count) {
      await eventually(() => failure || events.length >= count, () => `${count} events, got ${JSON.stringify(events)}`);
      if (failure) throw failure instanceof Error ? failure : new Error(JSON.stringify(failure));
      return events.slice(0, count).map(({ data }) => data);
    },
  };
}

/** Comes back when `look` is true, and fails when it does not become so. */
export async function eventually(look, what = () => "a condition", patience = PATIENCE_MS) {
  const deadline = Date.now() + patience;
  while (!look()) {
    if (Date.now() > deadline) throw new Error(`waited ${patience} ms in vain for ${what()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function within(milliseconds, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${milliseconds} ms in vain for ${what}`)), milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
