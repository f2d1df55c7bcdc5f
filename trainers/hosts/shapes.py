"""How the models of published trainers are asked for what their logits are made of: by public names alone."""

from collections.abc import Callable
from typing import NamedTuple

import torch


def plain_images(model, images):
    return model.image_encoder(images.type(model.dtype))


def exponential_scale(model):
    return model.logit_scale.exp()


class Shape(NamedTuple):
    """How a model is asked for what its logits are made of. Features need not be of unit norm."""

    text_features: Callable | None  # (model, unit image features [B, d]) -> [C, d]; [B, C, d] if prompts see the image
    image_features: Callable = plain_images  # (model, images [B, 3, H, W]) -> [B, d]
    logit_scale: Callable = exponential_scale  # (model) -> what cosines are multiplied with


def generic_texts(model, features):
    return model.text_encoder(model.prompt_learner(), model.tokenized_prompts)


def conditional_texts(model, features):
    prompts = model.prompt_learner(features.type(model.dtype))  # [B, C, L, w]
    return torch.stack([model.text_encoder(of_image, model.tokenized_prompts) for of_image in prompts])


def multimodal_texts(model, features):
    prompts, _, deep, _ = model.prompt_learner()
    return model.text_encoder(prompts, model.tokenized_prompts, deep)


def multimodal_images(model, images):
    _, shared, _, deep = model.prompt_learner()
    return model.image_encoder(images.type(model.dtype), shared, deep)


def class_aware_texts(model, features):
    prompts, of_classes = model.prompt_learner()
    return model.text_encoder(prompts, of_classes, model.weight, model.tokenized_prompts)


# By the name of the trainer whose published code has the shape.
SHAPES = {
    "CoOp": Shape(generic_texts),
    "CoCoOp": Shape(conditional_texts),
    "KgCoOp": Shape(generic_texts),
    "MaPLe": Shape(multimodal_texts, multimodal_images),
    "PromptSRC": Shape(generic_texts),
    "TCP": Shape(class_aware_texts),
}
