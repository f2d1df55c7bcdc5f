"""What methods that learn a context of prompts have in common."""

from torch import Tensor

from .config import options_of
from .files import UserError
from .model.prompts import initial_context
from .trainer import FeatureTrainer


class PromptTrainer(FeatureTrainer):
    """A method that learns a context of prompts. `CHUNK`: class names per text-encoder pass with recomputation, to
    bound memory; 0: by free memory."""

    LEARNS_PROMPTS = True
    OPTIONS = {
        "N_CTX": 16,  # context length
        "CTX_INIT": "",  # words to start from; their tokens fix the context length
        "CHUNK": 0,
    }

    def initial_context(self, classes: int | None = None) -> Tensor:
        """Where the learned context starts [n, w]; [classes, n, w] for class-specific ones. Raises UserError where an
        N_CTX that was set differs from the length of CTX_INIT."""
        words, length = self.options.CTX_INIT, self.options.N_CTX
        ctx = initial_context(self.backbone, words, length, classes)
        was_set = length != options_of(type(self))["N_CTX"]
        if words and was_set and ctx.shape[-2] != length:
            raise UserError(
                f"TRAINER.{self.SECTION}.N_CTX is {length}, but the words of CTX_INIT '{words}' are {ctx.shape[-2]} "
                f"tokens: leave one of the two out"
            )
        print(f"context: '{words}'" if words else f"context: random, {tuple(ctx.shape)}")
        return ctx
