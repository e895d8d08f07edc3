"""What proves an audit right: the contract that every audit keeps, and calibration on planted truth.

`check_audit` runs the contract on any `Audit`, also one from outside this package.
"""

from assaymark.testing.calibration import Calibration, calibrate
from assaymark.testing.contract import CHECKS, Case, check_audit

__all__ = ["CHECKS", "Calibration", "Case", "calibrate", "check_audit"]
