"""NVIDIA's Xid codes that concern hardware: what each means and what to do about it."""

from __future__ import annotations

from typing import NamedTuple


class Xid(NamedTuple):
    meaning: str
    advice: str


XIDS = {
    48: Xid("double bit ECC error", "drain it, reset the GPU; if it comes back, replace the GPU"),
    62: Xid("microcontroller halt", "drain it, reset the GPU or reboot the node"),
    63: Xid("row remapping", "drain it when it suits and reset the GPU: the bad row is replaced then"),
    64: Xid("row remapping failed", "drain it, replace the GPU: it has no spare rows left"),
    74: Xid("NVLink error", "drain it, reset all GPUs of the node; if it comes back, check bridge and seating"),
    79: Xid("fell off the bus", "drain the node, power-cycle it; if it comes back, reseat or replace the GPU"),
    94: Xid("contained ECC error", "restart the worker that was hit; reset the GPU when it suits"),
    95: Xid("uncontained ECC error", "drain it, reset the GPU: its memory cannot be trusted until then"),
    119: Xid("GSP timeout", "drain it, reset the GPU or reboot the node; a newer driver may mend it"),
    120: Xid("GSP error", "drain it, reset the GPU or reboot the node; a newer driver may mend it"),
}
"""Meaning and advice follow NVIDIA's "Xid Errors" (docs.nvidia.com/deploy/xid-errors); other codes are usually the application's."""
