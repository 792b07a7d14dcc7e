"""The request of /v1/completions: every field that OpenAI documents, honoured or refused."""

from typing import Annotated, cast

from pydantic import Field

from accordant.serve.faults import Fault
from accordant.serve.openai.fields import Drawing, Words, refuse

Ids = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]


class CompletionRequest(Drawing):
    """POST /v1/completions."""

    prompt: Words | Ids | Annotated[list[Words], Field(min_length=1)] | Annotated[list[Ids], Field(min_length=1)]
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = Field(None, description="16 where absent, as it always was.")

    best_of: Annotated[None, refuse("ask for n answers and choose among them", 1)] = None
    echo: Annotated[None, refuse("put the prompt before the answer yourself", False)] = None
    suffix: Annotated[None, refuse("this model has not learned to fill in")] = None

    def prompts(self) -> list[str | list[int]]:
        """All prompts, each a text or ids.

        Raises:
            Fault: when one is empty.
        """
        single = isinstance(self.prompt, str) or isinstance(self.prompt[0], int)
        prompts = cast(list[str | list[int]], [self.prompt] if single else self.prompt)
        if not all(prompts):
            raise Fault("an empty prompt cannot be continued", "prompt")
        return prompts
