"""Audit seals every topic into Merkle trees and projects the logs into rows."""
