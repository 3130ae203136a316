"""Faults for which a message of a rehearsal is rejected."""

from enum import StrEnum


class Fault(StrEnum):
    """Why a message was rejected."""

    FORM = "form"
    EMPTY = "empty"
    TRUNCATED = "truncated"
    FOREIGN_SCRIPT = "foreign_script"
    NEAR_REPEAT = "near_repeat"
    LEAKED_REASONING = "leaked_reasoning"
    META = "meta"
    ROLE_INVERSION = "role_inversion"
    TIC = "tic"
    TOO_LONG = "too_long"
