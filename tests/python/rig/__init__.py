"""What the end-to-end tests stand on: real PostgreSQL servers, real server processes, real sockets, and no sleeps."""
