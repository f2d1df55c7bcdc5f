"""The frozen model: backbones, their text encoder, prompts."""
