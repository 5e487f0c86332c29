"""What a factor is: coding of ``obs`` columns, and the arithmetic of their overlap."""

from betascvi.factors._aligned import aligned
from betascvi.factors._anchor import Anchor, as_anchors
from betascvi.factors._block_plan import BlockPlan, Parents, parents_of_levels, plan_blocks
from betascvi.factors._contingency import (
    chance_information,
    connected_parts,
    contingency,
    cramers_v,
    decides,
    entropy,
    mutual_information,
)
from betascvi.factors._factor import (
    KINDS,
    CodedFactor,
    Factor,
    Kind,
    as_factors,
    as_text,
    code_factor,
    infer_kind,
    name_of_level,
    tells_cells_apart,
)
from betascvi.factors._identifiable import refuse_unidentifiable
from betascvi.factors._overlap import Overlap, Pair, bin_codes, overlap_of
from betascvi.factors._overlap_weights import OverlapWeights, overlap_weights
from betascvi.factors._relation import Relation, relate

__all__ = [
    "KINDS",
    "Anchor",
    "BlockPlan",
    "CodedFactor",
    "Factor",
    "Kind",
    "Overlap",
    "OverlapWeights",
    "Pair",
    "Parents",
    "Relation",
    "aligned",
    "as_anchors",
    "as_factors",
    "as_text",
    "bin_codes",
    "chance_information",
    "code_factor",
    "connected_parts",
    "contingency",
    "cramers_v",
    "decides",
    "entropy",
    "infer_kind",
    "mutual_information",
    "name_of_level",
    "overlap_of",
    "overlap_weights",
    "parents_of_levels",
    "plan_blocks",
    "refuse_unidentifiable",
    "relate",
    "tells_cells_apart",
]
