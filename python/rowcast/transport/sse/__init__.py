"""graphql-sse: event streams in both modes, and queries over HTTP."""
