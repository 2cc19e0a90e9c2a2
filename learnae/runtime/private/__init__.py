"""What keeps private rows private, wired from a manifest and an owner's configuration."""
