// The stock npm graphql-ws client, as an application uses it: it fetches a token whenever it connects, and lives on. Says
// what happens to it, one JSON value a line, until it is killed.
//
//     node returning.mjs ws://…/graphql http://…/token/ann 'subscription { … }'

import { createClient } from "graphql-ws";
import WebSocket from "ws";

const [url, tokens, query] = process.argv.slice(2);
const say = (what) => console.log(JSON.stringify(what));

const client = createClient({
  url,
  webSocketImpl: WebSocket,
  connectionParams: async () => ({ token: await (await fetch(tokens)).json() }),
  retryAttempts: Infinity,
  retryWait: () => new Promise((resolve) => setTimeout(resolve, 100)),
  on: { connected: () => say({ connected: true }), closed: ({ code }) => say({ closed: code }) },
});

client.subscribe({ query }, { next: say, error: (error) => say({ error: String(error) }), complete: () => say({ complete: true }) });
