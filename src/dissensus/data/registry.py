"""Published data whose address is known: what it is, its licence, where it lies, and its checksums.

An address is registered only where public repositories were seen to use it. The checksums of SNLI and MultiNLI are
those that several independent repositories pin; those of ChaosNLI and LeWiDi were computed from files of the
published content. The network itself was not in reach when this was written, so no address was exercised.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RemoteFile:
    """One file to download.

    Attributes:
        url: its address.
        to: where it goes, relative to the data set's folder in the cache; for an archive, unused.
        sha256: of the file; None where it is not known: what was downloaded is then recorded.
        archive: unpack it (zip or tar) into the folder.
    """

    url: str
    to: str
    sha256: str | None
    archive: bool = False


@dataclass(frozen=True)
class DataSource:
    """A published data set that `pull` can fetch.

    Attributes:
        name: as in `dissensus data pull NAME`; also the folder in the cache.
        what: one line about it.
        licence: of the data.
        citation: whom to cite.
        homepage: where a person looks when an address has moved.
        files: what to download.
        expects: files that must be there afterwards, relative to the data set's folder.
    """

    name: str
    what: str
    licence: str
    citation: str
    homepage: str
    files: tuple[RemoteFile, ...]
    expects: tuple[str, ...]


# The publisher's own Dropbox archive (named on the homepage) was reported dead by more than one public repository;
# this mirror of the published files is pinned to a commit and to the checksums of the published content. AlphaNLI
# is not registered: its checksum could not be confirmed.
_CHAOSNLI = (
    "https://huggingface.co/datasets/earino/chaosnli/resolve/eb7cc18dbfa0f161d93a2b22c7856ca0faafcf2b/raw/"
)
_CHAOSNLI_FILES = {
    "chaosNLI_snli.jsonl": "99f9015ddda7d85f66a087452bc30d53974314fe27e7d589e2f41ad44bd509c1",
    "chaosNLI_mnli_m.jsonl": "8eb49b589488e7b1a9ec95fb8a864bd50f0509b4f808eed0aed3f8167617664d",
}

_LEWIDI = (
    "https://raw.githubusercontent.com/Le-Wi-Di/le-wi-di.github.io/"
    "45d7b06e4c36b59472d6bdf9281f7f1e395eb0e0/LeWiDi_2-2023/"
)
_LEWIDI_FILES = {
    "ArMIS_dataset/ArMIS_dev.json": "482112222496c64a704ea22f710bf184196beee848f5109406e3ca6196502526",
    "ArMIS_dataset/ArMIS_test.json": "95498bb854fe476ee33a88cfecb3b05f26e0e1baef6c1083072a56b61586c06a",
    "ArMIS_dataset/ArMIS_train.json": "549dcd92484fa916e4b8076476fba451cda09b8dca0ba501e70cf5a72c1397f7",
    "ConvAbuse_dataset/ConvAbuse_dev.json": "d95f9e740b07076e070ed47a8e010894d7cdbacb3246c89a000c26a17c61a04e",
    "ConvAbuse_dataset/ConvAbuse_test.json": "4a88c6cf2530eb3610bd1e9e7291916ad7fdaedc01dca4e68bcc3e846310afd9",
    "ConvAbuse_dataset/ConvAbuse_train.json": "f68d9c1e234afaf7e582103daac4e0f362da6418be3ff38e6cce76cfa3b674fc",
    "HS-Brexit_dataset/HS-Brexit_dev.json": "77c17f95985cbb6db47ffcda637e717a9074f2660e15b5c0c1f9006f50da60a7",
    "HS-Brexit_dataset/HS-Brexit_test.json": "24e5e1615818ff6e3b96e50245cfe10636ef8ec0ea51f2c2a60acb68858fd195",
    "HS-Brexit_dataset/HS-Brexit_train.json": "d204d83c7b1a73f037b3aff36aac61357c08a96f96292a37ac7655eb562d81fb",
    "MD-Agreement_dataset/MD-Agreement_dev.json": "b42b6b54015589504de259241e14c17ff605baab4eb146effcb17a95fbfd69f5",
    "MD-Agreement_dataset/MD-Agreement_test.json": "a30f185ece8bc99a45ce50e0311593ee1a6882a816c93f6915cabd368f3fad53",
    "MD-Agreement_dataset/MD-Agreement_train.json": "0b100595f7d10fd9b4624c647af2888597472b2dea90643dc788278714f57a6d",
}

SOURCES: dict[str, DataSource] = {
    source.name: source
    for source in (
        DataSource(
            name="chaosnli",
            what="ChaosNLI: 100 labels for each of 1,514 SNLI and 1,599 MNLI development items",
            licence="CC BY-NC 4.0",
            citation="Nie, Zhou and Bansal, EMNLP 2020",
            homepage="https://github.com/easonnie/ChaosNLI",
            files=tuple(RemoteFile(_CHAOSNLI + name, name, sha) for name, sha in _CHAOSNLI_FILES.items()),
            expects=tuple(_CHAOSNLI_FILES),
        ),
        DataSource(
            name="snli",
            what="SNLI 1.0: 570,000 pairs, one to five labels each",
            licence="CC BY-SA 4.0",
            citation="Bowman et al., EMNLP 2015",
            homepage="https://nlp.stanford.edu/projects/snli/",
            files=(
                RemoteFile(
                    "https://nlp.stanford.edu/projects/snli/snli_1.0.zip",
                    "",
                    "afb3d70a5af5d8de0d9d81e2637e0fb8c22d1235c2749d83125ca43dab0dbd3e",
                    archive=True,
                ),
            ),
            expects=tuple(f"snli_1.0/snli_1.0_{split}.jsonl" for split in ("train", "dev", "test")),
        ),
        DataSource(
            name="mnli",
            what="MultiNLI 1.0: 433,000 pairs in ten genres, one to five labels each",
            licence="by genre, mostly the OANC's; see the paper",
            citation="Williams, Nangia and Bowman, NAACL 2018",
            homepage="https://cims.nyu.edu/~sbowman/multinli/",
            files=(
                RemoteFile(
                    "https://cims.nyu.edu/~sbowman/multinli/multinli_1.0.zip",
                    "",
                    "049f507b9e36b1fcb756cfd5aeb3b7a0cfcb84bf023793652987f7e7e0957822",
                    archive=True,
                ),
            ),
            expects=tuple(
                f"multinli_1.0/multinli_1.0_{split}.jsonl"
                for split in ("train", "dev_matched", "dev_mismatched")
            ),
        ),
        DataSource(
            name="lewidi",
            what="Learning With Disagreements, 2nd edition: MD-Agreement, HS-Brexit, ConvAbuse, ArMIS",
            licence="research use; see each corpus",
            citation="Leonardelli et al., SemEval-2023 task 11, and each corpus' own paper",
            homepage="https://github.com/Le-Wi-Di/le-wi-di.github.io",
            files=tuple(RemoteFile(_LEWIDI + name, name, sha) for name, sha in _LEWIDI_FILES.items()),
            expects=tuple(_LEWIDI_FILES),
        ),
    )
}
