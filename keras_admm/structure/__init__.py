"""Structured compression: layers that become smaller, or two in the place of one."""
