"""What the model answered when it was measured, for the page's first sight; judged like all its words."""

from collections.abc import Sequence

from accordant.serve.moderation import Moderation
from accordant.serve.requests import Sample


class Samples:
    """Conversations to show.

    Args:
        given: what was asked and answered.
        moderation: what it would withhold is not shown; without it all is.
    """

    def __init__(self, given: Sequence[Sample], moderation: Moderation | None) -> None:
        self._given, self._moderation = given, moderation
        self._shown: list[Sample] | None = None

    async def shown(self) -> list[Sample]:
        """Those that may be seen; judged once.

        Raises:
            Unjudged: when they cannot be judged.
        """
        if self._shown is None:
            self._shown = [sample for sample in self._given if await self._allowed(sample)]
        return self._shown

    async def _allowed(self, sample: Sample) -> bool:
        if self._moderation is None:
            return True
        asked = await self._moderation.judge([sample.question], "user")
        answered = await self._moderation.judge([sample.answer], "model")
        return not any(said and said.withheld for said in (asked, answered))
