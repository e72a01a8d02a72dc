"""Fixtures of the end-to-end tests: real PostgreSQL servers, real server processes, real sockets, and no sleeps."""
