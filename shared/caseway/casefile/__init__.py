"""The case as every service and reader sees it: its state, its fold and its history."""
