"""What a member adds to masked sums of summaries: its statistics, with its share of the noise."""

from collections.abc import Callable

from learnae.basics.overriding import override
from learnae.peer.masking.sums import Source
from learnae.privacy.masking.noise_share import Integers, noisy
from learnae.privacy.noise.gaussian import Normals, fresh_normals
from learnae.samples.dp_statistics import Layout


class SummarySource(Source):
    """Draws vectors of ``sums``, of one ``layout``; a total has noise of ``deviation`` steps at least."""

    def __init__(
        self,
        layout: Layout,
        sums: Callable[[], Integers],
        deviation: float,
        most_releases: int,
        normals: Normals = fresh_normals,
    ) -> None:
        self.values = layout.groups * layout.size
        self.most_releases = most_releases
        self._sums = sums
        self._deviation = deviation
        self._normals = normals

    @override
    def draw(self, members: int) -> Integers:
        return noisy(self._sums(), self._deviation, members, self._normals)
