import numpy as np
import pytest
from PIL import Image

from xrarchive.errors import InputDataError
from xrarchive.radiographs.folder import read_folder

VOCABULARY = ("No Finding", "Effusion", "Mass")
TABLE = "image,labels\na.png,Effusion|Mass\nsub/b.png,No Finding\nc.png,\n"


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "theirs"
    (folder / "sub").mkdir(parents=True)
    for number, name in enumerate(("a.png", "sub/b.png", "c.png")):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


def read(folder, text=TABLE, **changes):
    table = folder.parent / "labels.csv"
    table.write_text(text)
    return read_folder(folder, table, **({"vocabulary": VOCABULARY, "size_px": 16} | changes))


def test_images_come_in_the_order_of_the_table_at_the_size_asked_for(folder):
    found = read(folder)
    assert found.images == ("a.png", "sub/b.png", "c.png")
    assert found.labels == (("Effusion", "Mass"), ("No Finding",), ())
    assert found.asked(VOCABULARY).tolist() == [[False, True, True], [True, False, False], [False] * 3]
    assert found.pixels.shape == (3, 16, 16)
    with Image.open(folder / "a.png") as image:
        expected = np.asarray(image, np.float64).reshape(16, 2, 16, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(found.pixels[0], expected, atol=1.01)  # Pillow rounds after each direction
    assert (found.source_px, found.unlisted, found.ignored_columns) == ((32, 32), 0, ())


@pytest.mark.parametrize(
    "text",
    [
        "file_name,prompt,No Finding,Effusion,Mass\na.png,x,0,1,1\nsub/b.png,y,1,,\nc.png,z,0,0.0,false\n",
        "Image Index,Finding Labels,prompt\na.png,Effusion|Mass,x\nsub/b.png,No Finding,y\nc.png,,z\n",
        "path,findings,Mass,prompt\na.png,Effusion|Mass,0,x\nsub/b.png,No Finding,1,y\nc.png,,1,z\n",
    ],
)
def test_a_table_may_be_any_of_those_in_use(folder, text):
    found = read(folder, text)
    assert found.labels == (("Effusion", "Mass"), ("No Finding",), ())
    assert found.ignored_columns == (("Mass", "prompt") if text.startswith("path") else ("prompt",))


def test_the_hash_is_of_bytes_and_labels_and_not_of_the_order(folder):
    first = read(folder).sha256
    assert read(folder, "image,labels\nc.png,\nsub/b.png,No Finding\na.png,Effusion|Mass\n").sha256 == first
    assert read(folder, TABLE.replace("Effusion|Mass", "Effusion")).sha256 != first
    with Image.open(folder / "a.png") as image:
        changed = np.array(image)
    changed[0, 0] ^= 1
    Image.fromarray(changed).save(folder / "a.png")
    assert read(folder).sha256 != first


def test_images_that_the_table_does_not_name_are_counted(folder):
    assert read(folder, "image,labels\na.png,Mass\n").unlisted == 2


ONE = "image,Effusion,Mass\na.png,1,{}\n"
REFUSED = [
    ("picture,labels\na.png,Mass\n", "no column for 'image'", "image or file_name"),
    ("image,label\na.png,Mass\n", "no column for 'labels'. Is 'label' meant", "labels or findings"),
    ("image,labels\na.png,Efusion\n", "labels.csv:2: the finding 'Efusion' was not declared.*'Effusion'", "--findings"),
    ("image,labels\na.png,nan\n", "the finding 'nan' was not declared", "--findings"),
    (ONE.format("nan"), "labels.csv:2: Mass is 'nan', expected 1, 0 or blank", "Write 1"),
    (ONE.format("-1"), "Mass is '-1', expected 1, 0 or blank", "Write 1"),
    (ONE.format("0.7"), "Mass is '0.7', expected 1, 0 or blank", "Write 1"),
    ("image,labels\na.png,Mass\na.png,Mass\n", "'a.png' was already listed in line 2", "one line"),
    ("image,labels\n../a.png,Mass\n", "'../a.png' is not a path inside the folder", "relative"),
    ("image,labels\n", "lists no radiograph", "one line for each"),
    ("image,labels\na.png,\n", "gives none of the 1 images a finding", "without labels"),
    ("image,labels\na.png,Mass\nd.png,Mass\ne.png,Mass\n", "2 of 3 .*: 2 x file not found.*'d.png'", "Add"),
    ("image,labels\na.png\n", "expected 2 cells, found 1", "Quote"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message", "fix"), REFUSED)
def test_what_is_no_labelled_set_gets_one_clear_message(folder, text, message, fix):
    with pytest.raises(InputDataError, match=message) as caught:
        read(folder, text)
    assert fix in caught.value.fix


def test_declared_findings_must_have_a_column(folder):
    with pytest.raises(InputDataError, match="no column for 'Mass'"):
        read(folder, "image,Effusion\na.png,1\n", declared=("Effusion", "Mass"))


def test_images_of_two_sizes_are_refused(folder):
    Image.new("L", (40, 32)).save(folder / "c.png")
    with pytest.raises(InputDataError, match=r"'c.png' has 40x32 px, 'a.png' has 32x32 px"):
        read(folder)


def test_a_file_that_is_no_image_is_refused(folder):
    (folder / "c.png").write_bytes(b"not an image")
    with pytest.raises(InputDataError, match="1 of 3 images cannot be read: 1 x not one of PNG, JPEG, TIFF"):
        read(folder)


def test_a_missing_folder_or_table_is_named(folder, tmp_path):
    with pytest.raises(InputDataError, match=r"No folder of images at .*absent"):
        read_folder(tmp_path / "absent", tmp_path / "labels.csv", vocabulary=VOCABULARY, size_px=16)
    with pytest.raises(InputDataError, match=r"No table of labels at .*absent.csv"):
        read_folder(folder, tmp_path / "absent.csv", vocabulary=VOCABULARY, size_px=16)
