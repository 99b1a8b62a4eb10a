"""Structured compression: layers that become smaller, or two in the place of one."""

from keras_admm.structure.shrink import shrink as shrink
