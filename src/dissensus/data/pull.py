"""Fetching published data: download, verify, unpack safely, move into the cache in one step.

The addresses and checksums were confirmed in public repositories that use them, but were **not** exercised when
this was written (no network); `pull` is tested against a local server. Where a publisher moves a file, the error
names the address and how to place the file by hand.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DataSource:
    """A published data set that `pull` can fetch.

    Attributes:
        name: as in `dissensus data pull NAME`; also the folder in the cache.
        what: one line about it.
        licence: of the data.
        citation: whom to cite.
        url: the publisher's address.
        homepage: where a person looks when the address has moved.
        sha256: of the archive; None where it is not known, and then what was downloaded is recorded.
        expects: one file that must be there after unpacking, relative to the data set's folder.
    """

    name: str
    what: str
    licence: str
    citation: str
    url: str
    homepage: str
    sha256: str | None
    expects: str


SOURCES: dict[str, DataSource] = {
    source.name: source
    for source in (
        DataSource(
            name="chaosnli",
            what="ChaosNLI: 100 labels for each of 4,645 SNLI, MNLI and alphaNLI development items",
            licence="CC BY-NC 4.0",
            citation="Nie, Zhou and Bansal, EMNLP 2020",
            url="https://www.dropbox.com/s/h4j7dqszmpt2679/chaosNLI_v1.0.zip?dl=1",
            homepage="https://github.com/easonnie/ChaosNLI",
            sha256=None,
            expects="chaosNLI_v1.0/chaosNLI_snli.jsonl",
        ),
        DataSource(
            name="snli",
            what="SNLI 1.0: 570,000 pairs, one to five labels each",
            licence="CC BY-SA 4.0",
            citation="Bowman et al., EMNLP 2015",
            url="https://nlp.stanford.edu/projects/snli/snli_1.0.zip",
            homepage="https://nlp.stanford.edu/projects/snli/",
            sha256="afb3d70a5af5d8de0d9d81e2637e0fb8c22d1235c2749d83125ca43dab0dbd3e",
            expects="snli_1.0/snli_1.0_dev.jsonl",
        ),
        DataSource(
            name="mnli",
            what="MultiNLI 1.0: 433,000 pairs in ten genres, one to five labels each",
            licence="OANC licence and others, by genre (see the paper)",
            citation="Williams, Nangia and Bowman, NAACL 2018",
            url="https://cims.nyu.edu/~sbowman/multinli/multinli_1.0.zip",
            homepage="https://cims.nyu.edu/~sbowman/multinli/",
            sha256="049f507b9e36b1fcb756cfd5aeb3b7a0cfcb84bf023793652987f7e7e0957822",
            expects="multinli_1.0/multinli_1.0_dev_matched.jsonl",
        ),
    )
}
