"""From a socket or a request to a session of the engine and back: WebSocket, server-sent events, HTTP."""
