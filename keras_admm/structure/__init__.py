"""Structured compression: layers that become smaller, or two in the place of one."""

from keras_admm.structure.factorize import factorize as factorize
from keras_admm.structure.low_rank_target import LowRankTarget as LowRankTarget
from keras_admm.structure.shrink import shrink as shrink
from keras_admm.structure.target import StructureTarget as StructureTarget
from keras_admm.structure.target import structure_targets as structure_targets
