import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mggtalk.errors import WeightsError
from mggtalk.perception.segmentation.head_labels import head_classes
from mggtalk.perception.segmentation.head_mask import face_silhouette
from mggtalk.perception.segmentation.head_parsing import SegformerParser, head_probability, tracked_head
from tests.support.faces import LANDMARKS, SIZE, person, posed_face
from tests.support.tiny_networks import CELEBA_LABELS, save_parsing_network


def test_the_classes_of_celebamask_hq_that_are_head():
    heads = {CELEBA_LABELS[number] for number in head_classes(dict(enumerate(CELEBA_LABELS)), "model")}
    assert set(CELEBA_LABELS) - heads == {"background", "neck_l", "neck", "cloth"}


def test_classes_go_by_name_and_not_by_number():
    assert head_classes({0: "Hair", 1: "neck", 2: "Left Eye", 3: "background", 4: "face skin"}, "model") == (0, 2, 4)


def test_unknown_labels_are_an_error_that_names_them():
    with pytest.raises(WeightsError, match=r"/my/model: labels dog, label_7 are unknown; expected .*hair"):
        head_classes({0: "hair", 1: "LABEL_7", 2: "dog"}, "/my/model")
    with pytest.raises(WeightsError, match="no label is of a head; got background, neck"):
        head_classes({0: "background", 1: "neck"}, "model")


def test_the_probability_of_a_head_is_that_of_its_classes_together():
    """Hair and skin at 30 % each are a head though the background has 40."""
    logits = torch.tensor([0.4, 0.3, 0.3]).log().view(1, 3, 1, 1) + 5
    torch.testing.assert_close(head_probability(logits, (1, 2)), torch.tensor([[[0.6]]]))


def face_of(face):
    return face_silhouette(face.pixels, face.landmark_set, SIZE, SIZE) > 0


def test_of_two_people_only_the_one_whose_face_is_tracked_is_in():
    left, right = posed_face(), np.zeros((SIZE, SIZE), bool)
    own = person(left.head_to_camera)["head"] | face_of(left)
    right[20:120, :25] = True
    assert not (own & right).any()
    np.testing.assert_array_equal(tracked_head(own | right, face_of(left)), own)


def test_parts_of_a_face_that_something_cuts_off_are_in():
    face = posed_face()
    own = person(face.head_to_camera)["head"] | face_of(face)
    row = int(face.pixels[:, 1].mean())
    own[row - 4 : row + 4] = False
    np.testing.assert_array_equal(tracked_head(own, face_of(face)), own)


def test_a_strip_of_somebody_else_before_the_face_is_out():
    face = posed_face()
    own, silhouette = person(face.head_to_camera)["head"] | face_of(face), face_of(face)
    edge = int(face.pixels[:, 0].max())
    stranger = np.zeros_like(own)
    stranger[:, edge - 3 :] = True
    own[:, edge - 5 :] = False
    assert (stranger & silhouette).any()
    np.testing.assert_array_equal(tracked_head(own | stranger, silhouette), own)


def test_without_a_head_at_the_face_there_is_no_mask():
    face = posed_face()
    elsewhere = np.zeros((SIZE, SIZE), bool)
    elsewhere[:20, :20] = True
    assert not tracked_head(elsewhere, face_of(face)).any()
    assert not tracked_head(np.ones((SIZE, SIZE), bool), np.zeros((SIZE, SIZE), bool)).any()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_parsing_network(tmp_path_factory.mktemp("parsing"))


def noise(count):
    """Images with structure for a network of random weights."""
    coarse = np.random.default_rng(5).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return np.stack([cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC) for image in coarse])


def test_a_saved_network_parses_a_batch_as_it_does_images_one_by_one(folder):
    parse = SegformerParser(folder, LANDMARKS, "cpu")
    assert parse.name == "segformer"
    images = noise(5)
    faces = [posed_face(yaw_deg=yaw) for yaw in (-30, -10, 0, 10, 30)]
    points, up = np.stack([face.pixels for face in faces]), np.stack([face.up for face in faces])
    together = parse(images, points, up)
    assert together.shape == (5, SIZE, SIZE)
    assert together.dtype == np.bool_
    assert together.any()
    assert not together.all()
    for index in range(5):
        alone = parse(images[index, None], points[index, None], up[index, None])
        np.testing.assert_array_equal(alone[0], together[index])


def test_the_mask_is_what_the_network_says_at_the_face(folder):
    """The same image through the library's own forward pass, upsampled and thresholded by hand."""
    from transformers import SegformerForSemanticSegmentation

    network = SegformerForSemanticSegmentation.from_pretrained(folder)
    image, face = noise(1), posed_face()
    small = torch.nn.functional.interpolate(
        torch.from_numpy(image).permute(0, 3, 1, 2).float(), (64, 64), mode="bilinear", antialias=True
    )
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.inference_mode():
        logits = network((small / 255 - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)).logits
    heads = [
        number for number, name in enumerate(CELEBA_LABELS) if name not in ("background", "neck_l", "neck", "cloth")
    ]
    probability = torch.nn.functional.interpolate(
        logits.softmax(1)[:, heads].sum(1, keepdim=True), (SIZE, SIZE), mode="bilinear"
    )
    expected = tracked_head(probability[0, 0].numpy() > 0.5, face_of(face))
    got = SegformerParser(folder, LANDMARKS, "cpu")(image, face.pixels[None], face.up[None])[0]
    assert expected.any()
    assert (got != expected).mean() < 1e-3


@pytest.mark.gpu
def test_on_a_gpu_in_float16_it_says_nearly_the_same(folder):
    face, images = posed_face(), noise(9)
    points, up = np.stack([face.pixels] * 9), np.stack([face.up] * 9)
    expected, got = (SegformerParser(folder, LANDMARKS, device)(images, points, up) for device in ("cpu", "cuda"))
    assert (got != expected).mean() < 0.02


def test_a_network_whose_labels_say_nothing_is_refused(tmp_path):
    save_parsing_network(tmp_path, tuple(f"LABEL_{number}" for number in range(19)))
    with pytest.raises(WeightsError, match=f"{tmp_path}: labels label_0, label_1, "):
        SegformerParser(tmp_path, LANDMARKS, "cpu")


def test_a_network_that_lacks_weights_is_refused(tmp_path):
    weights = tmp_path / "model.safetensors"
    save_parsing_network(tmp_path)
    content = load_file(weights)
    del content["decode_head.classifier.bias"]
    save_file(content, weights, metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=r"1 weights of a SegformerFor.* are missing: decode_head\.classifier\.bias"):
        SegformerParser(tmp_path, LANDMARKS, "cpu")
    weights.write_bytes(b"no weights")
    with pytest.raises(WeightsError, match="cannot be read as a SegformerForSemanticSegmentation"):
        SegformerParser(tmp_path, LANDMARKS, "cpu")


def test_a_folder_of_another_network_or_of_nothing_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"preprocessor_config\.json: cannot be read"):
        SegformerParser(tmp_path / "nowhere", LANDMARKS, "cpu")
    save_parsing_network(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(WeightsError, match="model_type is 'bert', expected 'segformer'"):
        SegformerParser(tmp_path, LANDMARKS, "cpu")
