"""The SLA watchdog is the only service that owns a clock."""
