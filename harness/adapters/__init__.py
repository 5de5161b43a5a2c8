"""Adapters: ways to use unlabelled test data, found by name, one file each."""

from collections.abc import Sequence

from harness.adapters.parts.contract import Adapter, TruthAdapter
from methods.core.options import headline, look_up
from shifts.common.errors import BadInput

ADAPTERS = {
    "mean": "harness.adapters.mean:Mean",
    "calibrated": "harness.adapters.calibrated:Calibrated",
    "sade": "harness.adapters.sade:Sade",
    "em": "harness.adapters.em:Em",
    "em_bcts": "harness.adapters.em_bcts:EmBcts",
    "map_em": "harness.adapters.map_em:MapEm",
    "mapls": "harness.adapters.mapls:Mapls",
    "roid_prior": "harness.adapters.roid_prior:RoidPrior",
    "eb_em": "harness.adapters.eb_em:EbEm",
    "eb_em_recal": "harness.adapters.eb_em_recal:EbEmRecal",
    "choose": "harness.adapters.choose:Choose",
    "choose_source": "harness.adapters.choose_source:ChooseSource",
    "bbse": "harness.adapters.bbse:Bbse",
    "rlls": "harness.adapters.rlls:Rlls",
    "cm_ml": "harness.adapters.cm_ml:CmMl",
    "cm_map": "harness.adapters.cm_map:CmMap",
    "elsa": "harness.adapters.elsa:Elsa",
    "kdey_ml": "harness.adapters.kdey_ml:KdeyMl",
    "lsc": "harness.adapters.lsc:Lsc",
    "oracle_prior": "harness.adapters.oracle_prior:OraclePrior",
    "stream_sade": "harness.adapters.stream_sade:StreamSade",
    "stream_em": "harness.adapters.stream_em:StreamEm",
    "stream_em_bcts": "harness.adapters.stream_em_bcts:StreamEmBcts",
    "stream_history": "harness.adapters.stream_history:StreamHistory",
    "stream_flh_ftl": "harness.adapters.stream_flh_ftl:StreamFlhFtl",
    "stream_rogd": "harness.adapters.stream_rogd:StreamRogd",
    "stream_oracle": "harness.adapters.stream_oracle:StreamOracle",
    "stream_hindsight": "harness.adapters.stream_hindsight:StreamHindsight",
    "routed": "harness.adapters.routed:Routed",
    "preference": "harness.adapters.preference:Preference",
    "preference_em": "harness.adapters.preference_em:PreferenceEm",
    "t3a": "harness.adapters.t3a:T3a",
    "lame": "harness.adapters.lame:Lame",
    "tent_head": "harness.adapters.tent_head:TentHead",
    "shot_head": "harness.adapters.shot_head:ShotHead",
    "best_expert": "harness.adapters.best_expert:BestExpert",
}
"""Every adapter by name; its module is imported when it is asked for."""

BESIDES = ("lsc", "t3a", "lame", "tent_head", "shot_head")
"""Adapters that `all` names and the default leaves out: one trains a network, which takes longer than all others, the
rest read features, which evidence has where it was asked for, and are not about the prior."""


def get(text: str) -> Adapter | TruthAdapter:
    """Return the adapter that `text` names, with options on the name (`sade:objective=inner`). Raises BadInput."""
    if not isinstance(text, str):
        raise BadInput(f"an adapter is named by a text, as 'em', not {text!r}")
    adapter: Adapter | TruthAdapter = look_up("adapter", text, ADAPTERS)
    return adapter


def asked_for(names: Sequence[str]) -> list[Adapter | TruthAdapter]:
    """Return the adapters of these names, each once; `all` is every one, no name all but BESIDES. Raises BadInput."""
    wanted = [one for name in names for one in (ADAPTERS if name == "all" else [name])]
    return list(map(get, dict.fromkeys(wanted or [name for name in ADAPTERS if name not in BESIDES])))


def names() -> list[tuple[str, str]]:
    """Return (name, first line of the adapter file's docstring) of every adapter; imports none of them."""
    return [(name, headline(target.partition(":")[0])) for name, target in ADAPTERS.items()]
