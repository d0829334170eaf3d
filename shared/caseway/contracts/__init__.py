"""The published language: every byte on a topic is one of these models."""
