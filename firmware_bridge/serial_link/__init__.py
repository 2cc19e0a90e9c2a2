"""The acknowledged serial protocol (docs/bridge.md): frames, link, clock, port."""
