"""Where machines with an invite code and members meet over HTTP (docs/lan.md, docs/protocol.md)."""
