"""The imperative shell: the loop that runs a processor over a log, and the logs."""
