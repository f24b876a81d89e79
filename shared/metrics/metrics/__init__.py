"""What each number means: raw records in, one row of figures out; defined in ../sql."""

from metrics.calibration import (
    Load,
    calibration_errors,
    interface_overhead,
    known_truth,
    reported,
)
from metrics.comparison import compare
from metrics.compute import MetricsError, compute
from metrics.records import RecordsError, store_records, store_samples

__all__ = [
    "Load",
    "MetricsError",
    "RecordsError",
    "calibration_errors",
    "compare",
    "compute",
    "interface_overhead",
    "known_truth",
    "reported",
    "store_records",
    "store_samples",
]
