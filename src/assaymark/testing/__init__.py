"""What proves an audit right: the contract that every audit keeps, and calibration on planted truth.

`check_audit` runs the contract on any `Audit`, also one from outside this package; `check_mitigation` its part for cures.
"""

from assaymark.testing.calibration import Calibration, calibrate
from assaymark.testing.contract import CHECKS, Case, check_audit
from assaymark.testing.mitigations import MITIGATION_CHECKS, check_mitigation

__all__ = ["CHECKS", "MITIGATION_CHECKS", "Calibration", "Case", "calibrate", "check_audit", "check_mitigation"]
