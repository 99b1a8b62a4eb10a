"""The only room that knows Keras's insides: how the training of a live model is changed, and how that is undone."""

from keras_admm.attach.build import build as build
from keras_admm.attach.few import FEW as FEW
from keras_admm.attach.fit import is_kind as is_kind
from keras_admm.attach.fit import is_running as is_running
from keras_admm.attach.fit import resume_at as resume_at
from keras_admm.attach.fit import running_callbacks as running_callbacks
from keras_admm.attach.fit import tell_of_batches as tell_of_batches
from keras_admm.attach.fit import validation_scores as validation_scores
from keras_admm.attach.hold import Hold as Hold
from keras_admm.attach.hold import optimizer_of as optimizer_of
from keras_admm.attach.judges import Judges as Judges
from keras_admm.attach.optimizers import Optimizers as Optimizers
from keras_admm.attach.optimizers import check_optimizer as check_optimizer
from keras_admm.attach.optimizers import choose_optimizers as choose_optimizers
from keras_admm.attach.roles import build_optimizers as build_optimizers
from keras_admm.attach.roles import built_for as built_for
from keras_admm.attach.roles import structural as structural
from keras_admm.attach.roles import variables_by_role as variables_by_role
from keras_admm.attach.rules import GradientPull as GradientPull
from keras_admm.attach.rules import ProximalPull as ProximalPull
from keras_admm.attach.rules import Rest as Rest
from keras_admm.attach.rules import StepRule as StepRule
from keras_admm.attach.slot import PRUNED as PRUNED
from keras_admm.attach.slot import UNCONSTRAINED as UNCONSTRAINED
from keras_admm.attach.slot import Slot as Slot
from keras_admm.attach.tf_keras_optimizer import set_constraint as set_constraint
