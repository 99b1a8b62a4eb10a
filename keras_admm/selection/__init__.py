"""Projections of tensors that are too large to be seen as one."""

from keras_admm.selection.shards import keep_largest as keep_largest
