"""Citation: BibTeX of the paper whose question is asked, and of this software."""

from __future__ import annotations

PAPER = r"""@inproceedings{steele-2026-annotation,
  title     = {Annotation Entropy Predicts Per-Example Learning Dynamics in {LoRA} Fine-Tuning},
  author    = {Steele, Brady},
  booktitle = {Proceedings of the 64th Annual Meeting of the Association for Computational Linguistics (ACL 2026)},
  note      = {Student Research Workshop; arXiv:2604.16332},
  year      = {2026},
  pages     = {129--141},
  url       = {https://aclanthology.org/2026.acl-srw.11/}
}
"""


def bibtex() -> str:
    """Both entries, as a .bib file has them. The data sets of a study are to be cited as well."""
    from dissensus import __version__

    software = f"""@software{{dissensus,
  title   = {{dissensus}},
  author  = {{{{The dissensus developers}}}},
  version = {{{__version__}}},
  license = {{Apache-2.0}},
  note    = {{What a fine-tune does, example by example, to data on which people disagree}}
}}
"""
    return f"{PAPER}\n{software}"
