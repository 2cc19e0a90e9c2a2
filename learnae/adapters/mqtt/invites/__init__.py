"""Where machines with an invite code and members meet on a broker (docs/mqtt.md, docs/protocol.md)."""
