"""The names of `xrarchive.pipeline`: each is there, of one home, and asking for it loads no more than that."""

import subprocess
import sys

import pytest

from xrarchive import pipeline


def test_every_public_name_has_one_home_and_is_there():
    homes = [name for names in pipeline._HOMES.values() for name in names]
    assert sorted(homes) == sorted(pipeline.__all__) == sorted(set(homes))
    assert all(getattr(pipeline, name).__module__.startswith("xrarchive.") for name in pipeline.__all__)
    assert set(pipeline.__all__) <= set(dir(pipeline))


def test_another_name_is_refused():
    with pytest.raises(AttributeError, match="no attribute 'bild'"):
        _ = pipeline.bild


def test_importing_it_loads_none_of_the_stages():
    script = "import sys\nfrom xrarchive import pipeline\nassert not {'numpy', 'pyarrow', 'torch'} & set(sys.modules)\n"
    script += "pipeline.publish\nassert not {'torch', 'scipy', 'pandas', 'pyarrow', 'datasets'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
