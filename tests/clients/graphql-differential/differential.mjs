// The graphql-js side of src/graphql/tests/differential.rs. Reads JSON on stdin, writes JSON on stdout:
//   introspection-query  ->  the introspection queries that graphql-js clients and GraphiQL send
//   compare              ->  the differences between rowcast's opinion and graphql-js's; an empty list is agreement
import { readFileSync } from "node:fs";
import {
  buildClientSchema, buildSchema, execute, getIntrospectionQuery, lexicographicSortSchema, parse, printSchema,
  subscribe, validate,
} from "graphql";

const queries = [
  getIntrospectionQuery(),
  getIntrospectionQuery({
    descriptions: true, specifiedByUrl: true, directiveIsRepeatable: true, schemaDescription: true,
    inputValueDeprecation: true, oneOf: true,
  }),
];

// Suggestions are graphql-js's own courtesy; quotation marks, a type's `!` and the full stop are not the point.
const bare = (message) =>
  message.replace(/ Did you mean .*$/s, "").replace(/ Found: .*$/s, "").replace(/["!]/g, "").replace(/\.$/, "");

function judge(schema, { query, variables, operationName }) {
  let document;
  try {
    document = parse(query);
  } catch (error) {
    return [error];
  }
  const invalid = validate(schema, document);
  if (invalid.length) return invalid;
  const named = document.definitions.filter((d) => d.kind === "OperationDefinition");
  const chosen = operationName == null ? named[0] : named.find((d) => d.name?.value === operationName);
  const args = { schema, document, variableValues: variables ?? {}, operationName };
  if (chosen?.operation === "subscription" && (named.length === 1 || operationName != null)) {
    // The event stream has no source here: only errors of the request count.
    const result = subscribe({ ...args, subscribeFieldResolver: async function* () {} });
    return result.errors ?? [];
  }
  return (execute(args).errors ?? []).filter((error) => error.path === undefined);
}

function difference(ours, theirs) {
  if ((ours === null) !== (theirs.length === 0)) return "one accepts, the other refuses";
  if (ours === null) return null;
  const syntax = (error) => error.message.startsWith("Syntax Error");
  if (syntax(ours[0]) || syntax(theirs[0])) {
    return syntax(ours[0]) && syntax(theirs[0]) ? null : "only one sees a syntax error";
  }
  const words = (errors) => JSON.stringify(errors.map((error) => bare(error.message)).sort());
  if (words(ours) !== words(theirs)) return "other words";
  for (const error of ours) {
    // The same line: whether a node begins at its name or at its keyword is each one's own choice.
    const lines = (error) => (error.locations ?? []).map((location) => location.line);
    const twins = theirs.filter((other) => bare(other.message) === bare(error.message)).flatMap(lines);
    if (twins.length && !lines(error).some((line) => twins.includes(line))) return `another line: ${lines(error)}`;
  }
  return null;
}

function compare({ sdl, introspections, cases }) {
  const differences = [];
  const schema = buildSchema(sdl);
  const printed = printSchema(lexicographicSortSchema(schema));
  introspections.forEach((response, index) => {
    if (response.errors) differences.push({ introspection: index, errors: response.errors });
    else if (printSchema(lexicographicSortSchema(buildClientSchema(response.data))) !== printed)
      differences.push({ introspection: index, schema: printSchema(buildClientSchema(response.data)) });
  });
  for (const item of cases) {
    const theirs = judge(schema, item);
    const what = difference(item.errors, theirs);
    if (item.differs ? what === null : what !== null) {
      differences.push({ case: item.name, what: what ?? "declared different, but agrees", ours: item.errors, theirs });
    }
  }
  return differences;
}

const command = process.argv[2];
const input = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(command === "introspection-query" ? queries : compare(input)));
