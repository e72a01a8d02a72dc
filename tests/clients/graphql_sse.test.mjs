// The stock npm graphql-sse client in both modes, and an EventSource, against the demo: nothing here knows rowcast but
// for the cursor.

import assert from "node:assert/strict";
import { createServer, request as forward } from "node:http";
import { after, before, test } from "node:test";
import { EventSource } from "eventsource";
import { createClient } from "graphql-sse";
import { ACME, GLOBEX, eventually, startDemo } from "./demo.mjs";

const ORDERS = "subscription { orders { operation key { id } row { id tenantId status } } }";
const MODES = [false, true];

let demo;
let url;
let nextId = 7_000_000;
before(async () => {
  demo = await startDemo();
  url = demo.url.replace("ws", "http");
}, { timeout: 150_000 });
after(async () => demo?.stop());

/** A committed order; its id. */
async function order(tenant = ACME) {
  const id = nextId++;
  await demo.sql("insert into orders (id, tenant_id, status, total) values ($1, $2, 'open', '12.50')", [id, tenant]);
  return String(id);
}

/** A proxy that can cut every connection; what its clients sent as Last-Event-ID is in `asked`. */
async function startProxy() {
  const sockets = new Set();
  const asked = [];
  const { port, hostname, pathname } = new URL(url);
  const server = createServer((incoming, outgoing) => {
    asked.push(incoming.headers["last-event-id"]);
    const passed = forward({ port, hostname, path: incoming.url, method: incoming.method, headers: incoming.headers }, (answer) => {
      outgoing.writeHead(answer.statusCode, answer.headers);
      outgoing.flushHeaders();
      answer.pipe(outgoing);
    });
    passed.on("error", () => outgoing.destroy());
    outgoing.on("close", () => passed.destroy());
    incoming.pipe(passed);
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    asked,
    url: `http://127.0.0.1:${server.address().port}${pathname}`,
    cut: () => sockets.forEach((socket) => socket.destroy()),
    stop: () => (sockets.forEach((socket) => socket.destroy()), server.close()),
  };
}

/** A stock client and every event that one subscription received. Its request notes the cursor, as a user's may. */
function follow({ singleConnection, token = "acme", query = ORDERS, at = url }) {
  const headers = () => ({ authorization: `Bearer ${token}` });
  const client = createClient({ url: at, singleConnection, headers, retry: () => new Promise((resolve) => setTimeout(resolve, 50)) });
  const request = { query, extensions: { rowcast: {} } };
  const told = { results: [], ended: undefined, dispose: () => client.dispose() };
  told.release = client.subscribe(request, {
    next(result) {
      told.results.push(result);
      const cursor = result.extensions?.rowcast?.cursor;
      if (cursor) request.extensions.rowcast.after = cursor;
    },
    error: (error) => (told.ended = error),
    complete: () => (told.ended = "complete"),
  });
  told.ids = () => told.results.map(({ data }) => data.orders.key.id);
  return told;
}

/** Writes orders until one is delivered: then the subscription is live. Forgets the events so far. */
async function live(told, tenant = ACME) {
  for (;;) {
    const id = await order(tenant);
    const seen = await eventually(() => told.ids().includes(id), undefined, 1_000).then(() => true, () => false);
    if (seen) return told.results.splice(0);
    assert.equal(told.ended, undefined);
  }
}

for (const singleConnection of MODES) {
  const mode = singleConnection ? "single" : "distinct";

  test(`${mode}: rows that SQL writes arrive in order, and no other tenant's`, async (t) => {
    const acme = follow({ singleConnection });
    const globex = follow({ singleConnection, token: "globex" });
    t.after(acme.dispose), t.after(globex.dispose);
    await live(acme), await live(globex, GLOBEX);
    acme.results.length = globex.results.length = 0;
    const ids = { [ACME]: [], [GLOBEX]: [] };
    for (let i = 0; i < 20; i++) for (const tenant of [ACME, GLOBEX]) ids[tenant].push(await order(tenant));
    await eventually(() => acme.ids().length >= 20 && globex.ids().length >= 20);
    assert.deepEqual([acme.ids(), globex.ids()], [ids[ACME], ids[GLOBEX]]);
  });

  test(`${mode}: a query is answered and completes`, async (t) => {
    const told = follow({ singleConnection, query: "{ __typename }" });
    t.after(told.dispose);
    await eventually(() => told.ended);
    assert.deepEqual([told.ended, told.results], ["complete", [{ data: { __typename: "Query" } }]]);
  });

  test(`${mode}: a connection that is cut is taken up again, and nothing is missing or told twice`, async (t) => {
    const proxy = await startProxy();
    t.after(proxy.stop);
    const told = follow({ singleConnection, at: proxy.url });
    t.after(told.dispose);
    await live(told);
    const ids = [];
    for (let round = 0; round < 3; round++) {
      ids.push(await order());
      await eventually(() => told.ids().length === ids.length, () => `${ids}, got ${told.ids()}`);
      proxy.cut();
      for (let i = 0; i < 5; i++) ids.push(await order());
      await eventually(() => told.ids().length >= ids.length, () => `${ids}, got ${told.ids()}`);
    }
    assert.deepEqual(told.ids(), ids);
  });

  test(`${mode}: a subscription that is given up ends on the server`, async (t) => {
    const told = follow({ singleConnection });
    t.after(told.dispose);
    await live(told);
    told.release();
    await eventually(() => told.ended);
    assert.equal(told.ended, "complete");
  });

  test(`${mode}: a refused client gets the reason`, async () => {
    const client = createClient({ url, singleConnection, retryAttempts: 0, headers: { authorization: "Bearer mallory" } });
    const failure = await new Promise((error, complete) => client.subscribe({ query: ORDERS }, { next() {}, error, complete }));
    assert.equal(failure.response.status, 403);
  });
}

test("distinct: what is wrong with a request is its result", async (t) => {
  const told = follow({ singleConnection: false, query: "subscription { nothing }" });
  t.after(told.dispose);
  await eventually(() => told.ended);
  assert.equal(told.ended, "complete");
  assert.equal(told.results[0].errors[0].extensions.code, "GRAPHQL_VALIDATION_FAILED");
});

test("an EventSource that is cut comes back by itself, and nothing is missing or told twice", async (t) => {
  const proxy = await startProxy();
  t.after(proxy.stop);
  const ids = [];
  const fetch = (input, init) => globalThis.fetch(input, { ...init, headers: { ...init.headers, authorization: "Bearer acme" } });
  const source = new EventSource(`${proxy.url}?query=${encodeURIComponent(ORDERS)}`, { fetch });
  t.after(() => source.close());
  source.addEventListener("next", ({ data, lastEventId }) => {
    const { data: { orders }, extensions } = JSON.parse(data);
    assert.equal(lastEventId, extensions.rowcast.cursor);
    ids.push(orders.key.id);
  });
  await eventually(() => source.readyState === EventSource.OPEN);
  // The response begins when the operation is in force.
  const written = [await order()];
  for (let round = 0; round < 2; round++) {
    await eventually(() => ids.length >= written.length, () => `${written}, got ${ids}`);
    proxy.cut();
    for (let i = 0; i < 5; i++) written.push(await order());
  }
  await eventually(() => ids.length >= written.length, () => `${written}, got ${ids}`);
  assert.deepEqual(ids, written);
  assert.equal(proxy.asked[0], undefined);
  assert.ok(proxy.asked.length >= 2 && proxy.asked.slice(1).every(Boolean), `${proxy.asked}`);
});
