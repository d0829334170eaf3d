from tests.conformance.log_edges import LogEdges
from tests.conformance import test_kafka_log as k
import pytest

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]


class TestK(LogEdges):
    made = k.TestKafkaLog.made
    log = k.LogConformance.log
