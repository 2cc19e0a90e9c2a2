"""Blocks and announcements between machines of one network over HTTP, without broker and daemon (docs/lan.md)."""
