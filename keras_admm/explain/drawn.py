"""`Drawn`: how samples of a kind are drawn on the dashboard."""

from abc import ABC, abstractmethod


class Drawn(ABC):
    """Samples of one kind, as parts of a page in HTML."""

    def glyphs(self):
        """What stands hidden at the beginning of the page, for its drawings to use."""
        return ""

    @abstractmethod
    def optimized(self, name, samples):
        """The inputs that a model finds most typical.

        Args:
            name: str, the model's.
            samples: dict of classes to arrays of the shape of a sample.
        """

    @abstractmethod
    def sample(self, i, maps, scores, temporal):
        """A sample with what each model looks at in it.

        Args:
            i: int, which one.
            maps: dict of the models' names to arrays `(places,)`, the saliency of each place.
            scores: dict of the models' names to floats.
            temporal: dict of the names of recurrent models to arrays `(2, positions)` of scores.
        """
