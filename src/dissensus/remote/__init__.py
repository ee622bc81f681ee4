"""Studies and curves stores at a URL: on S3 and what is compatible with it, GCS, or any folder that fsspec opens.

Training, analysis and the store itself know folders alone. A mirror brings a folder here and publishes it there; what
makes it atomic there is what makes it atomic on a disk: the manifest comes last.
"""

from dissensus.remote.folder import Remote, is_url
from dissensus.remote.lease import Lease, LeaseLostError
from dissensus.remote.mirror import Mirror, Publisher
from dissensus.remote.study_mirror import (
    fetch_store,
    fetch_study,
    local_folder_for,
    publish_results,
    publish_study,
    study_folder,
)

__all__ = [
    "Lease",
    "LeaseLostError",
    "Mirror",
    "Publisher",
    "Remote",
    "fetch_store",
    "fetch_study",
    "is_url",
    "local_folder_for",
    "publish_results",
    "publish_study",
    "study_folder",
]
