"""Predictors: the families of networks, the controls whose result is known, saving and loading."""

from segue.models.families import MODELS, build_model
from segue.models.network import LatentModel
from segue.models.predictor import Predictor
from segue.models.saved import load_model, save_model

__all__ = ["MODELS", "LatentModel", "Predictor", "build_model", "load_model", "save_model"]
