"""Every decoder of outside bytes, given bytes that nothing sane has written: docs/testing.md."""
