"""The interpolations of the paper (Figs. 5, 6, S1-S4)."""

from typing import NamedTuple


class PublishedChain(NamedTuple):
    """An interpolation of the paper: the ids of its ends, where it is shown, and the formulas as printed."""

    source: str
    target: str
    figure: str
    formulas: str


PUBLISHED = (
    PublishedChain("mp-10695", "mp-2469", "Fig. 5", "ZnS → MgZn3S4 → MgZnS2 → Mg3ZnS4 → MgS → MgCd3S4 → CdS"),
    PublishedChain("mp-1265", "mp-22862", "Fig. 6", "MgO → NaMgO2 → NaO → Na2ClO → Na4Cl3O → NaCl"),
    PublishedChain(
        "mp-22862",
        "mp-21276",
        "Fig. S1",
        "NaCl → Na3PbCl4 → Na3Te2PbCl2 → Na3Te3PbCl → Na2Te3Pb2Cl → NaTe3Pb3Cl → Te3Pb4Cl → TePb → Te3Pb4S → Pb2STe "
        "→ Pb4S3Te → PbS",
    ),
    PublishedChain("mp-1265", "mp-2605", "Fig. S2", "MgO → CaMgO2 → CaO"),
    PublishedChain(
        "mp-21276",
        "mp-2605",
        "Fig. S3",
        "PbS → Yb3PbS4 → YbS → Yb3MgS4 → YbMgS2 → YbMg3S4 → MgS → CaMgS2 → Ca3MgS4 → CaS → Ca4S3O → Ca2SO → CaO",
    ),
    PublishedChain(
        "mp-2998",
        "mp-5986",
        "Fig. S4",
        "BaTiO3 → BaTiO4 → BaTi2O3 → Ba2TiO3 → Ba2O3 → BaO3 → BaO4 → BaTiO3 → BaO4 → BaTiO3",
    ),
)
"""All interpolations of the paper; the last by its LCS6Å model, the others by its ICSG3D model."""


def published_chain(source: str, target: str) -> PublishedChain | None:
    """The paper's interpolation between the crystals of two ids, or None where it has none.

    >>> published_chain("mp-1265", "mp-2605").formulas
    'MgO → CaMgO2 → CaO'
    """
    return next((one for one in PUBLISHED if (one.source, one.target) == (source, target)), None)
