"""Search without gradients: which x, within bounds, makes a function least. Knows no model; NumPy alone."""

from keras_admm.search.base import Search as Search
from keras_admm.search.cmaes import CMAES as CMAES
from keras_admm.search.level_switch import LevelSwitch as LevelSwitch
from keras_admm.search.ncs import NCS as NCS
from keras_admm.search.run import Result as Result
from keras_admm.search.run import check_method as check_method
from keras_admm.search.run import minimize as minimize
