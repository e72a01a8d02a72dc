// The subgraph of the corpus, read by @apollo/subgraph and composed with a second rowcast service and a plain one that
// adds a field to an order. Prints `composed` or what Apollo says is wrong.
import { readFileSync } from "node:fs";
import { composeServices } from "@apollo/composition";
import { buildSubgraphSchema } from "@apollo/subgraph";
import { parse } from "graphql";

const corpus = new URL("../../corpus/graphql/subgraph.graphql", import.meta.url);
const shop = readFileSync(corpus, "utf8");

/** Another rowcast service: everything that both have must be shareable. */
const billing = `
  extend schema @link(url: "https://specs.apollo.dev/federation/v2.4", import: ["@key", "@shareable"])
  type Subscription { invoices: InvoicesEvent! }
  type InvoicesEvent { operation: Operation! row: Invoices }
  type Invoices @key(fields: "id") { id: BigInt! }
  enum Operation { INSERT UPDATE DELETE TRUNCATE MESSAGE }
  type Query { rowcast: Rowcast! @shareable }
  type Rowcast @shareable { version: String! }
  scalar BigInt
`;
const shipping = `
  extend schema @link(url: "https://specs.apollo.dev/federation/v2.4", import: ["@key"])
  type Query { parcels: [Orders!]! }
  type Orders @key(fields: "id") { id: BigInt! parcel: String }
  scalar BigInt
`;

const service = (name, sdl) => ({ name, url: `http://${name}`, typeDefs: parse(sdl) });
const schema = buildSubgraphSchema({ typeDefs: parse(shop) });
const entities = schema.getType("_Entity").getTypes().map((type) => type.name);
const { errors, supergraphSdl } = composeServices([
  service("shop", shop),
  service("billing", billing),
  service("shipping", shipping),
]);
if (errors) {
  for (const error of errors) console.error(error.message);
  process.exit(1);
}
console.log(`composed; entities of the shop: ${entities.join(", ")}; supergraph: ${supergraphSdl.length} characters`);
