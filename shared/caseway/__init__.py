"""The platform every service stands on: contracts, kernel, casefile, hosting and ops."""
