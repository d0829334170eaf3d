"""Intake admits submissions once and judges what operators may change."""
