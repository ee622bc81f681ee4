"""A study's results as one table in one line, and a study's folder where a recording's is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dissensus
from dissensus.analysis.study_reading import StudyReader
from dissensus.errors import SpecError, StoreError
from synthetic_study import dataset, study_spec, write_study

pytest.importorskip("pandas")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "made"
    write_study(folder, study_spec(seeds=[0, 1]))
    return folder


def test_a_row_per_example_of_each_cell_with_its_text(study: Path) -> None:
    table = dissensus.load_results(study, text=True)
    reading = StudyReader.at(study).all()
    assert len(table) == 4 * 60
    for cell in reading.cells:
        rows = table[table["cell"] == cell.name].set_index("id").loc[list(cell.curves.ids)]
        np.testing.assert_allclose(rows["aulc"], cell.metrics.aulc)
        assert rows["hypothesis"].tolist() == [text["hypothesis"] for text in cell.curves.text]
    assert "premise" not in dissensus.load_results(study).columns


def test_other_tables_by_name(study: Path) -> None:
    assert len(dissensus.load_results(study, "conditions")) == 2
    assert len(dissensus.load_results(str(study), "cells")) == 4
    with pytest.raises(
        SpecError, match=r"'claims'; this study has: examples, cells, conditions, groups, missing"
    ):
        dissensus.load_results(study, "claims")
    with pytest.raises(SpecError, match=r"text=True goes with the table 'examples'"):
        dissensus.load_results(study, "cells", text=True)


def test_a_single_recording_names_its_own_way(study: Path) -> None:
    cell = next((study / "cells").iterdir())
    with pytest.raises(StoreError, match=r"single recording.*load_curves\(.*\)\.to_pandas\(text=True\)"):
        dissensus.load_results(cell)
    table = dissensus.load_curves(cell).to_pandas(text=True)
    assert table["premise"].tolist() == [example.text["premise"] for example in dataset(60)]
    assert "premise" not in dissensus.load_curves(cell).to_pandas().columns


def test_load_curves_of_a_study_names_its_cells(study: Path, tmp_path: Path) -> None:
    cells = sorted(path for path in (study / "cells").iterdir())
    for load in (dissensus.load_curves, dissensus.open_curves):
        with pytest.raises(StoreError, match="is a study's folder, and curves are stored per cell") as caught:
            load(study)
        assert all(str(cell) in str(caught.value) for cell in cells)
        assert f"dissensus.load_results({str(study)!r})" in str(caught.value)
    (tmp_path / "cells" / "pending").mkdir(parents=True)
    with pytest.raises(StoreError, match="No cell has stored curves yet"):
        dissensus.load_curves(tmp_path)
    for number in range(25):
        (tmp_path / "cells" / f"c{number:02d}").mkdir()
        (tmp_path / "cells" / f"c{number:02d}" / "manifest.json").write_text("{}")
    with pytest.raises(StoreError, match=r"c19\n  and 5 more in"):
        dissensus.load_curves(tmp_path)
