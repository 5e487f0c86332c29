"""The real data sets: what each is, which factors it has, where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class DataSet:
    """A public single-cell data set whose ``obs`` columns can serve as factors."""

    name: str
    factors: tuple[str, ...]
    """Columns of ``obs`` worth scoring against."""
    paper: str
    accession: str
    source: str
    """Public repository, path and commit that the counts were read from."""


_MIXOLOGY = ("Tian et al. 2019, Nature Methods", "GSE118767")
_KANG = ("Kang et al. 2018, Nature Biotechnology", "GSE96583")
_TABLE = (
    DataSet(
        "mixology_rnamix",
        ("protocol", "mixture", "prop_H2228", "prop_H1975", "mRNA_amount"),
        *_MIXOLOGY,
        "github.com/LuyiTian/sc_mixology data/csv/RNAmix_* @ 7d00ffb",
    ),
    DataSet(
        "mixology_cellmix",
        ("plate", "mixture", "n_H1975", "n_H2228", "n_HCC827"),
        *_MIXOLOGY,
        "github.com/LuyiTian/sc_mixology data/csv/cellmix1-4.* @ 7d00ffb",
    ),
    DataSet(
        "mixology_5cl_plates",
        ("plate", "cell_line"),
        *_MIXOLOGY,
        "github.com/LuyiTian/sc_mixology data/csv/sc_celseq2_5cl_p1-3.* @ 7d00ffb",
    ),
    DataSet(
        "papalexi_thp1_crispr",
        ("batch", "perturbation", "condition"),
        "Papalexi et al. 2021, Nature Genetics",
        "GSE153056",
        "github.com/Katsevich-Lab/sceptredata data/lowmoi_example_data.rda @ ec722d5",
    ),
    DataSet(
        "kang_pbmc_ifnb",
        ("condition", "donor", "cell_type_predicted"),
        *_KANG,
        "github.com/immunogenomics/harmony data/pbmc_stim.RData @ df19af2, donors from "
        "github.com/yelabucsf/demuxlet_paper_code fig3/ye*.best @ ec493d3",
    ),
    DataSet(
        "kang_pbmc_annotated",
        ("condition", "donor", "cell_type"),
        *_KANG,
        "github.com/HelenaLC/muscat data/example_sce.rda @ 017b290",
    ),
    DataSet(
        "onek1k_subset",
        ("batch", "donor", "cell_type", "sex", "age"),
        "Yazar et al. 2022, Science",
        "GSE196830",
        "github.com/chrisycd/scDesignPop data/example_sce.rda @ e05f1f9",
    ),
    DataSet(
        "fucci_ipsc_101genes",
        ("batch", "donor", "cell_cycle_phase", "theta"),
        "Hsiao et al. 2020, Genome Research",
        "GSE121265",
        "github.com/jhsiao999/peco data/sce_top101genes.rda @ 0cbccde",
    ),
    DataSet(
        "jaitin_spleen_lps",
        ("batch", "donor", "condition", "sorted_population"),
        "Jaitin et al. 2014, Science",
        "GSE54006",
        "github.com/kkdey/singlecellRNAseqData data/MouseJaitinSpleen.rda @ 1981f6d",
    ),
    DataSet(
        "worm_embryo_neurons",
        ("batch", "time_point", "cell_type", "embryo_time"),
        "Packer et al. 2019, Science",
        "GSE126954",
        "github.com/cole-trapnell-lab/monocle3 inst/extdata/worm_embryo/ @ 1336cc9",
    ),
    DataSet(
        "worm_l2_neurons",
        ("batch", "cell_type"),
        "Cao et al. 2017, Science",
        "GSE98561",
        "github.com/cole-trapnell-lab/monocle3 inst/extdata/worm_l2/ @ 1336cc9",
    ),
    DataSet(
        "mouse_pancreas_e15",
        ("cell_type", "cell_cycle_phase", "s_score", "g2m_score"),
        "Bastidas-Ponce et al. 2019, Development",
        "GSE132188",
        "github.com/GfellerLab/SuperCell data/pancreas.rda @ 5de820e",
    ),
)

CATALOGUE = MappingProxyType({entry.name: entry for entry in _TABLE})
"""Name to data set."""
