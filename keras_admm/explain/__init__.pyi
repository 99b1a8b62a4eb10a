from .mutation import mutagenesis as mutagenesis
from .named_array import NamedArray as NamedArray
from .optimized import optimize_input as optimize_input
from .saliency import saliency as saliency
from .temporal import temporal_scores as temporal_scores
from .windows import Windows as Windows
from .windows import activating_windows as activating_windows
