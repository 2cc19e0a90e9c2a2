"""Configuration: TOML, environment and flags into frozen sections, each field checked."""
