"""The fleet of the acceptance tests, here in two versions."""

from tests.acceptance.conftest import fleet

__all__ = ["fleet"]
