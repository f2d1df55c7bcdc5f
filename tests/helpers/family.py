"""Trainers of the shapes that CoOp's descendants have, written from their public names alone: what a model is called by
(`prompt_learner`, `text_encoder`, ...), what that takes and returns, what is registered, who calls the optimiser.

They stand on Dassl and the embedded backbone, so that the file is a checkout's trainers/coop.py as well.
"""

import os

import clip
import miniclip
import torch
import torch.nn.functional as F
from dassl.engine import TRAINER_REGISTRY, TrainerX
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import load_checkpoint
from torch import nn

WORDS = "a photo of a"


class PromptLearner(nn.Module):
    def __init__(self, classnames, tower):
        super().__init__()
        texts = [f"{WORDS} {name.replace('_', ' ')}." for name in classnames]
        self.tokenized_prompts = clip.tokenize(texts)
        with torch.no_grad():
            embedded = tower.token_embedding(self.tokenized_prompts)
        self.ctx = nn.Parameter(embedded[0, 1:5].clone())
        self.register_buffer("token_prefix", embedded[:, :1])  # they depend on the names, and are in checkpoints
        self.register_buffer("token_suffix", embedded[:, 5:])

    def prompts(self, ctx):
        return torch.cat([self.token_prefix, ctx.expand(len(self.token_prefix), -1, -1), self.token_suffix], 1)

    def forward(self):
        return self.prompts(self.ctx)


class TextEncoder(nn.Module):
    def __init__(self, tower):
        super().__init__()
        self.tower = tower

    def forward(self, prompts, tokens):
        x = self.tower.transformer((prompts + self.tower.positional_embedding).transpose(0, 1)).transpose(0, 1)
        x = self.tower.ln_final(x)
        return x[torch.arange(len(x)), tokens.argmax(-1)] @ self.tower.text_projection


class CustomCLIP(nn.Module):
    learner, encoder = PromptLearner, TextEncoder

    def __init__(self, classnames):
        super().__init__()
        tower = miniclip.load().float().eval()
        self.image_encoder, self.logit_scale, self.dtype = tower.visual, tower.logit_scale, torch.float32
        self.prompt_learner, self.text_encoder = self.learner(classnames, tower), self.encoder(tower)
        self.tokenized_prompts = self.prompt_learner.tokenized_prompts
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name.startswith("prompt_learner."))

    def train(self, mode=True):
        super().train(mode)
        self.image_encoder.eval()  # batch norms; CLIP has none
        return self

    def texts(self):
        return F.normalize(self.text_encoder(self.prompt_learner(), self.tokenized_prompts), dim=-1)

    def images(self, image):
        return F.normalize(self.image_encoder(image), dim=-1)

    def forward(self, image):
        return self.logit_scale.exp() * self.images(image) @ self.texts().t()


class Stock(TrainerX):
    kind = CustomCLIP

    def build_model(self):
        self.model = self.kind(self.dm.dataset.classnames).to(self.device)
        self.optim = build_optimizer(self.model.prompt_learner, self.cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, self.cfg.OPTIM)
        self.register_model("prompt_learner", self.model.prompt_learner, self.optim, self.sched)

    def loss_of(self, image, label):
        return F.cross_entropy(self.model(image), label)

    def forward_backward(self, batch):
        image, label = batch["img"].to(self.device), batch["label"].to(self.device)
        loss = self.loss_of(image, label)
        self.model_backward_and_update(loss)
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        return {"loss": loss.item()}

    def after_epoch(self):
        super().after_epoch()
        if os.environ.get("KILL_AFTER") == str(self.epoch + 1):
            os._exit(9)

    def load_model(self, directory, epoch=None):
        for name in self.get_model_names() if directory else ():
            weights = load_checkpoint(f"{directory}/{name}/model.pth.tar-{epoch or self.max_epoch}")["state_dict"]
            weights = {key: value for key, value in weights.items() if "token_" not in key}
            self._models[name].load_state_dict(weights, strict=False)


@TRAINER_REGISTRY.register()
class CoOp(Stock):
    pass


class Knowing(CustomCLIP):
    """The model also says how far its text features are from the hand-written ones."""

    def __init__(self, classnames):
        super().__init__(classnames)
        with torch.no_grad():
            self.ori_embedding = self.texts().roll(1, 1)

    def forward(self, image):
        return super().forward(image), 1 - (self.texts() * self.ori_embedding).sum(1).mean()


@TRAINER_REGISTRY.register()
class KgCoOp(Stock):
    kind = Knowing

    def loss_of(self, image, label):
        logits, score = self.model(image)
        return F.cross_entropy(logits, label) + self.cfg.TRAINER.COOP.W * score

    def model_inference(self, input):
        return self.model(input)[0]


class MultiModalLearner(PromptLearner):
    def __init__(self, classnames, tower):
        super().__init__(classnames, tower)
        width, out = self.ctx.shape[1], tower.text_projection.shape[1]
        self.proj = nn.Linear(width, out)
        self.compound_prompts_text = nn.ParameterList([nn.Parameter(0.02 * torch.randn(4, width))])
        self.compound_prompt_projections = nn.ModuleList([nn.Linear(width, out)])

    def forward(self):
        pairs = zip(self.compound_prompt_projections, self.compound_prompts_text)
        deep = [layer(prompt) for layer, prompt in pairs]
        return super().forward(), self.proj(self.ctx), self.compound_prompts_text, deep


class DeepTextEncoder(TextEncoder):
    def forward(self, prompts, tokens, deep):
        moved = prompts[:, 1:5] + sum(deep)
        return super().forward(torch.cat([prompts[:, :1], moved, prompts[:, 5:]], 1), tokens)


class PromptedTower(nn.Module):
    def __init__(self, tower):
        super().__init__()
        self.tower = tower

    def forward(self, image, shared, deep):
        return self.tower(image) + 0.1 * (shared.mean(0) + sum(prompt.mean(0) for prompt in deep))


class MultiModal(CustomCLIP):
    learner, encoder = MultiModalLearner, DeepTextEncoder

    def __init__(self, classnames):
        super().__init__(classnames)
        self.image_encoder = PromptedTower(self.image_encoder)

    def forward(self, image, label=None):
        prompts, shared, deep_text, deep_image = self.prompt_learner()
        texts = F.normalize(self.text_encoder(prompts, self.tokenized_prompts, deep_text), dim=-1)
        logits = self.logit_scale.exp() * F.normalize(self.image_encoder(image, shared, deep_image), dim=-1) @ texts.t()
        return F.cross_entropy(logits, label) if self.prompt_learner.training else logits


@TRAINER_REGISTRY.register()
class MaPLe(Stock):
    """Registers the whole model, and steps the optimiser itself."""

    kind = MultiModal

    def build_model(self):
        self.model = self.kind(self.dm.dataset.classnames).to(self.device)
        self.optim = build_optimizer(self.model, self.cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, self.cfg.OPTIM)
        self.register_model("MultiModalPromptLearner", self.model, self.optim, self.sched)

    def forward_backward(self, batch):
        loss = self.model(batch["img"].to(self.device), batch["label"].to(self.device))
        self.optim.zero_grad()
        loss.backward()
        self.optim.step()
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        return {"loss": loss.item()}


class ConditionalLearner(PromptLearner):
    def __init__(self, classnames, tower):
        super().__init__(classnames, tower)
        self.meta_net = nn.Linear(tower.text_projection.shape[1], self.ctx.shape[1])

    def forward(self, features):
        return torch.stack([self.prompts(self.ctx + shift) for shift in self.meta_net(features)])


class Conditional(CustomCLIP):
    learner = ConditionalLearner

    def forward(self, image):
        features, rows = self.images(image), []
        for feature, prompts in zip(features, self.prompt_learner(features)):
            rows.append(F.normalize(self.text_encoder(prompts, self.tokenized_prompts), dim=-1) @ feature)
        return self.logit_scale.exp() * torch.stack(rows)


@TRAINER_REGISTRY.register()
class CoCoOp(Stock):
    kind = Conditional


class ClassAwareLearner(PromptLearner):
    def __init__(self, classnames, tower):
        super().__init__(classnames, tower)
        self.meta_net = nn.Linear(self.ctx.shape[1], self.ctx.shape[1])

    def forward(self):
        return super().forward(), self.meta_net(self.token_suffix[:, 0])


class ClassAwareEncoder(TextEncoder):
    def forward(self, prompts, class_prompt, weight, tokens):
        moved = prompts[:, 1:5] + weight * class_prompt[:, None]
        return super().forward(torch.cat([prompts[:, :1], moved, prompts[:, 5:]], 1), tokens)


class ClassAware(CustomCLIP):
    learner, encoder, weight = ClassAwareLearner, ClassAwareEncoder, 0.5

    def texts(self):
        prompts, class_prompt = self.prompt_learner()
        return F.normalize(self.text_encoder(prompts, class_prompt, self.weight, self.tokenized_prompts), dim=-1)


@TRAINER_REGISTRY.register()
class TCP(Stock):
    kind = ClassAware


@TRAINER_REGISTRY.register()
class PromptSRC(MaPLe):
    """Its text features are asked for as stock CoOp's, its image features as well."""

    class kind(CustomCLIP):
        def forward(self, image, label=None):
            logits = super().forward(image)
            return F.cross_entropy(logits, label) if self.prompt_learner.training else logits
