"""Approval opens gates, finds the authority row and applies exactly one decision."""
