"""What a run does and when: a `Plan` of `Step`s, and what each aims at, its `Target`."""

from keras_admm.plan.amount import Amount as Amount
from keras_admm.plan.amount import Parameters as Parameters
from keras_admm.plan.budget import Budget as Budget
from keras_admm.plan.budget import check_budget as check_budget
from keras_admm.plan.budget import warn_of_uncounted as warn_of_uncounted
from keras_admm.plan.budgeted import BudgetTarget as BudgetTarget
from keras_admm.plan.every import every as every
from keras_admm.plan.ladder import Ladder as Ladder
from keras_admm.plan.ladder import LadderTarget as LadderTarget
from keras_admm.plan.plan import EpochInfo as EpochInfo
from keras_admm.plan.plan import Plan as Plan
from keras_admm.plan.plan import Step as Step
from keras_admm.plan.plan import per_step as per_step
from keras_admm.plan.pruning import PruningTarget as PruningTarget
from keras_admm.plan.pruning import ascending as ascending
from keras_admm.plan.pruning import check_start as check_start
from keras_admm.plan.pruning import pruning_targets as pruning_targets
from keras_admm.plan.searched import SearchTarget as SearchTarget
from keras_admm.plan.target import AnyTarget as AnyTarget
from keras_admm.plan.target import Target as Target
from keras_admm.plan.target import as_target as as_target
from keras_admm.plan.target import sets_of as sets_of
