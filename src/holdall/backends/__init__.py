"""The backends that come with the core: `file://` and `memory://`."""
