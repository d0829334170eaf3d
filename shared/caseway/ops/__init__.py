"""What operators touch: settings, logs, metrics and health."""
