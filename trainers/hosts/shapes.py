"""How the models of published trainers are asked for what their logits are made of: by public names alone."""

from collections.abc import Callable
from typing import NamedTuple

import torch


class Shape(NamedTuple):
    """How a model is asked for what its logits are made of. Features need not be of unit norm."""

    text_features: Callable  # (model, unit image features [B, d]) -> [C, d]; [B, C, d] where prompts see the image
    image_features: Callable  # (model, images [B, 3, H, W]) -> [B, d]
    logit_scale: Callable  # (model) -> what cosines are multiplied with


def exponential_scale(model):
    return model.logit_scale.exp()


def plain_images(model, images):
    return model.image_encoder(images.type(model.dtype))


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
    "CoOp": Shape(generic_texts, plain_images, exponential_scale),
    "CoCoOp": Shape(conditional_texts, plain_images, exponential_scale),
    "KgCoOp": Shape(generic_texts, plain_images, exponential_scale),
    "MaPLe": Shape(multimodal_texts, multimodal_images, exponential_scale),
    "PromptSRC": Shape(generic_texts, plain_images, exponential_scale),
    "TCP": Shape(class_aware_texts, plain_images, exponential_scale),
}
