"""Addresses of the LeWiDi files: the organisers' repository, pinned to a commit, each file with its checksum."""

from __future__ import annotations

from dissensus.data.sources.base import PublishedData, RemoteFile

_REPOSITORY = (
    "https://raw.githubusercontent.com/Le-Wi-Di/le-wi-di.github.io/45d7b06e4c36b59472d6bdf9281f7f1e395eb0e0/"
)
_HOMEPAGE = "https://github.com/Le-Wi-Di/le-wi-di.github.io"
_FILES_2023 = {
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
_FILES_2025 = {
    "CSC/CSC_annotators_meta.json": "06a4b494e6cbb7f4b5636efd7f6174316c3311ab870988bcedbfa4fd3cfac4bd",
    "CSC/CSC_dev.json": "e20b142573639c50640b2ab720d79d348005b174e36bc8332fbadbfd53160be5",
    "CSC/CSC_test.json": "80b7c33bd11de5bf6637876b73d923735029e8732eda3eba3f7b8b257f7b4181",
    "MP/MP_annotators_meta.json": "8b0e310e21246884847f36d0e5c54de22e6031c11fd7e5e2447cdd884619ea3e",
    "MP/MP_dev.json": "284bd1d9119b46878b9eb18db369e90db53d1e9cf7ce0c519157bac53bd24e29",
    "MP/MP_test.json": "da313236d8b6b1cb056c3965751d56c33fffd3d635f53546a924948246ed0ad6",
    "Paraphrase/Paraphrase_annotators_meta.json": "a5d56635ea516288e26e162cd5599db95b3fa89dad24fee4f6d5a37ec125a0e4",
    "Paraphrase/Paraphrase_dev.json": "821f8b142d63c9ccc38cb801fa6ca4cdcfe5049c8bfb151c7d7d3dd025db8e03",
    "Paraphrase/Paraphrase_test.json": "5c2396b91ae84edcf64b1b529b8ade83b1fa3a78b4b930cbcf613b917875ae1d",
    "Paraphrase/Paraphrase_train.json": "2ec98bad361732dbb568e4acea339edbbd747299fbd716e99812e4f14042bc53",
    "VariErrNLI/VariErrNLI_annotators_meta.json": "3cd41a2a8cad537788b5bdf46b2c9dac3731142a6a9704484b60275fa0b2dc66",
    "VariErrNLI/VariErrNLI_dev.json": "6d1b5ca80ee4eb79c608de828b386f524cacddc608d0396464c71d728b369efd",
    "VariErrNLI/VariErrNLI_test.json": "872fa56f32a999fd46954cae144528ea7445186cf35ca473fabf6d3eeb43340a",
    "VariErrNLI/VariErrNLI_train.json": "466a507dec72eb118d528e52aa5a905cb23a4e5acaf7af02062938ea958d1a0d",
}
"""CSC_train.json and MP_train.json are left out: their checksums could not be computed here."""

PUBLISHED = PublishedData(
    name="lewidi",
    what="Learning With Disagreements, 2nd edition: MD-Agreement, HS-Brexit, ConvAbuse, ArMIS",
    licence="research use; see each corpus",
    citation="Leonardelli et al., SemEval-2023 task 11, and each corpus' own paper",
    homepage=_HOMEPAGE,
    files=tuple(
        RemoteFile(f"{_REPOSITORY}LeWiDi_2-2023/{name}", name, sha) for name, sha in _FILES_2023.items()
    ),
    expects=tuple(_FILES_2023),
)
PUBLISHED_2025 = PublishedData(
    name="lewidi-2025",
    what="Learning With Disagreements, 3rd edition: Paraphrase, VariErrNLI; CSC, MP without training files",
    licence="research use; see each corpus",
    citation="Leonardelli et al., LeWiDi 2025 (NLPerspectives), and each corpus' own paper",
    homepage=_HOMEPAGE,
    files=tuple(
        RemoteFile(f"{_REPOSITORY}LeWiDi_3-2025/{name}", name, sha) for name, sha in _FILES_2025.items()
    ),
    expects=tuple(_FILES_2025),
)


def publisher_of(file: str) -> PublishedData | None:
    """The edition whose `data pull` brings a file of this name, as far as is known; None for those it leaves out."""
    if file in ("CSC_train.json", "MP_train.json"):
        return None
    newer = any(name.endswith(f"/{file}") for name in PUBLISHED_2025.expects)
    return PUBLISHED_2025 if newer else PUBLISHED
