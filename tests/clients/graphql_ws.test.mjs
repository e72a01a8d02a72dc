// The stock npm graphql-ws client against the demo: what it shows is what every graphql-transport-ws client gets.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createClient } from "graphql-ws";
import WebSocket from "ws";
import { ACME, GLOBEX, eventually, follow, startDemo } from "./demo.mjs";

const ORDERS = "subscription { orders { operation transition key { id } row { id tenantId status total note sentAt } } }";

let demo;
let nextId = 5_000_000;
before(async () => (demo = await startDemo()), { timeout: 150_000 });
after(async () => demo?.stop());

/** A committed order; its id. */
async function order(tenant, { status = "open", total = "12.50", note = null, sentAt = null } = {}) {
  const id = nextId++;
  await demo.sql("insert into orders (id, tenant_id, status, total, note, sent_at) values ($1, $2, $3, $4, $5, $6)", [id, tenant, status, total, note, sentAt]);
  return String(id);
}

/** Writes orders until the subscription shows one: then it is known to be live, and to have told all that came before. */
async function live(subscription, tenant, attributes) {
  for (let seen = false; !seen; ) {
    const id = await order(tenant, attributes);
    const shown = () => JSON.stringify(subscription.events.at(-1) ?? null).includes(id);
    seen = await eventually(shown, undefined, 1_000).then(() => true, () => false);
  }
  subscription.events.length = 0;
}

async function following(token, query, variables, tenant = ACME, attributes) {
  const subscription = follow(demo.url, token, query, variables);
  await live(subscription, tenant, attributes);
  return subscription;
}

test("a row inserted by SQL arrives, with every digit of its numbers", async (t) => {
  const acme = await following("acme", ORDERS);
  t.after(acme.dispose);
  const id = await order(ACME, { total: "9999999999.99", note: "grüße \"&\" 🎉", sentAt: "9007199254740993" });
  const [{ orders }] = await acme.first(1);
  assert.deepEqual(orders, {
    operation: "INSERT",
    transition: "ENTER",
    key: { id },
    row: { id, tenantId: ACME, status: "open", total: "9999999999.99", note: "grüße \"&\" 🎉", sentAt: "9007199254740993" },
  });
});

test("each tenant sees its own rows and no other's", async (t) => {
  const [acme, globex] = [await following("acme", ORDERS), await following("globex", ORDERS, {}, GLOBEX)];
  t.after(acme.dispose), t.after(globex.dispose);
  acme.events.length = globex.events.length = 0;
  const ids = { [ACME]: [], [GLOBEX]: [] };
  for (let i = 0; i < 20; i++) for (const tenant of [ACME, GLOBEX]) ids[tenant].push(await order(tenant));
  const [ofAcme, ofGlobex] = [await acme.first(20), await globex.first(20)];
  assert.deepEqual(ofAcme.map(({ orders }) => orders.row.id), ids[ACME]);
  assert.deepEqual(ofGlobex.map(({ orders }) => orders.row.id), ids[GLOBEX]);
});

test("a token that is a UUID signs in as that tenant", async (t) => {
  const tenant = "33333333-3333-4333-8333-333333333333";
  const own = await following(tenant, ORDERS, {}, tenant);
  t.after(own.dispose);
  await order(ACME);
  const id = await order(tenant);
  assert.equal((await own.first(1))[0].orders.row.id, id);
});

test("an update is delivered as a change and a delete by its key only", async (t) => {
  const acme = await following("acme", ORDERS);
  t.after(acme.dispose);
  const id = await order(ACME);
  await demo.sql("update orders set status = 'paid' where id = $1", [id]);
  await demo.sql("delete from orders where id = $1", [id]);
  const [inserted, updated, deleted] = (await acme.first(3)).map(({ orders }) => orders);
  assert.equal(inserted.operation, "INSERT");
  assert.deepEqual([updated.operation, updated.transition, updated.row.status], ["UPDATE", "STAY", "paid"]);
  assert.deepEqual(deleted, { operation: "DELETE", transition: "LEAVE", key: { id }, row: null });
});

test("a filter lets rows enter and leave", async (t) => {
  const query = "subscription ($where: OrdersWhere) { orders(where: $where) { transition key { id } row { status } } }";
  const paid = await following("acme", query, { where: { status: { eq: "paid" } } }, ACME, { status: "paid" });
  t.after(paid.dispose);
  const id = await order(ACME, { status: "open" });
  await demo.sql("update orders set status = 'paid' where id = $1", [id]);
  await demo.sql("update orders set status = 'void' where id = $1", [id]);
  const [entered, left] = (await paid.first(2)).map(({ orders }) => orders);
  assert.deepEqual(entered, { transition: "ENTER", key: { id }, row: { status: "paid" } });
  assert.deepEqual(left, { transition: "LEAVE", key: { id }, row: null });
});

test("aliases, fragments, __typename and variables with defaults shape the answer", async (t) => {
  const query = `
    subscription Shaped($only: OrdersWhere = { status: { in: ["open", "{"] } }) { news: orders(where: $only) { ...Told } }
    fragment Told on OrdersEvent { __typename what: operation row { ...Row } }
    fragment Row on Orders { number: id __typename }`;
  const shaped = await following("acme", query);
  t.after(shaped.dispose);
  const id = await order(ACME);
  assert.deepEqual(await shaped.first(1), [
    { news: { __typename: "OrdersEvent", what: "INSERT", row: { number: id, __typename: "Orders" } } },
  ]);
});

test("a token that is neither is refused with 4403", async () => {
  const closed = new Promise((resolve) => {
    const on = { closed: resolve };
    const client = createClient({ url: demo.url, webSocketImpl: WebSocket, connectionParams: { token: "mallory" }, lazy: false, retryAttempts: 0, on, onNonLazyError: () => {} });
    setTimeout(() => client.dispose(), 15_000).unref();
  });
  const { code, reason } = await closed;
  assert.deepEqual([code, reason], [4403, "Forbidden"]);
});

test("a query that does not fit the schema ends its own subscription and no other", async (t) => {
  const client = createClient({ url: demo.url, webSocketImpl: WebSocket, connectionParams: { token: "acme" }, lazy: false });
  t.after(() => client.dispose());
  const attempt = (query) => new Promise((resolve) => client.subscribe({ query }, { next: () => {}, error: resolve, complete: resolve }));
  const errors = await attempt("subscription { orders { row { wages } } }");
  assert.match(errors[0].message, /wages/);
  assert.ok(errors[0].locations.length > 0);
  const answers = [];
  await new Promise((resolve, reject) => client.subscribe({ query: "{ __typename }" }, { next: (answer) => answers.push(answer), error: reject, complete: resolve }));
  assert.deepEqual(answers.map(({ data }) => data), [{ __typename: "Query" }]);
});
