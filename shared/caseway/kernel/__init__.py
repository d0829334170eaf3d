"""The functional core: processors, folds, identities, registry, calendars; no I/O."""
