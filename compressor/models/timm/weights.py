"""timm's pretrained weights: from the hub where it can be reached, or from its cache."""

from __future__ import annotations

import warnings

from torch import nn

from compressor.errors import UsageError
from compressor.models import hub
from compressor.models.family import StateDict
from compressor.models.timm.build import TimmArchitecture, takes_image_size
from compressor.packages import import_timm


def pretrained_state(architecture: TimmArchitecture) -> StateDict:
    """timm's pretrained weights for the architecture, without its class count.

    Raises:
        UsageError: timm has none, or the hub can't be reached and they are not in its cache.
    """
    timm = import_timm()
    from timm.models import get_pretrained_cfg

    name = architecture.name
    if ":" not in name:
        config = get_pretrained_cfg(name, allow_unregistered=True)
        if config is None or not config.has_weights:
            raise UsageError(f"timm has no pretrained weights for {name}")
    online = hub.reachable()
    try:
        with hub.offline(not online), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            options = {"img_size": architecture.image_size} if takes_image_size(name) else {}
            model = timm.create_model(name, pretrained=True, **options)
    except Exception as error:  # the hub's clients raise many kinds: network, missing file, offline mode
        reason = hub.reason(error) if online else "the model hub can't be reached"
        raise UsageError(f"no pretrained weights ({reason})") from error
    return dict(model.state_dict())


def head_names(model: nn.Module) -> set[str]:
    """Names of the classification head's parameters."""
    classifier = model.get_classifier()  # type: ignore[operator]
    heads = classifier if isinstance(classifier, tuple | list) else [classifier]
    owned = {id(p) for head in heads if isinstance(head, nn.Module) for p in head.parameters()}
    return {name for name, p in model.named_parameters() if id(p) in owned}
