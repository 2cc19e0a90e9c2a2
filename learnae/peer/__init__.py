"""One peer's tick: hear, merge, train, publish. Speaks only to ports; knows no adapter."""
