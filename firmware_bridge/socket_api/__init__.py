"""The Unix socket: a server with a bounded backlog, and the client that agents use."""
