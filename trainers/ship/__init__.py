"""SHIP: Improving Zero-Shot Generalization for CLIP with Synthesized Prompts (Wang et al., ICCV 2023, https://arxiv.org/abs/2307.07397).

A generator learns from base features to synthesize prompts, and through them CLIP's frozen text encoder makes image
features, of classes that have only a name. generator.py is the generator, model.py the frameworks around it,
plugin.py what a run does with them, interpretation.py puts its prompts into words. What f-VAEGAN and TF-VAEGAN share
with it is in ../generative.
"""
