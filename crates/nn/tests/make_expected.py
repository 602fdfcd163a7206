"""Writes what onnxruntime gives for a photo: crates/embed/tests/sface.json and crates/detect-track/tests/yunet.json.

    python3 make_expected.py SFACE_int8bq.onnx YUNET_int8bq.onnx 32bit.png

The photo is a PNG, so no JPEG decoder has a say; it is shrunk by means of whole blocks of pixels, so
no resampling filter has either. Weights are dequantised here, by numpy, because onnxruntime 1.32
refuses the files' block-wise biases. Made with onnxruntime 1.32.0, onnx, numpy 2.4.6, Pillow 13.0.0.
"""
import json, pathlib, sys
import numpy as np, onnx, onnxruntime
from PIL import Image

CRATES = pathlib.Path(__file__).resolve().parents[2]
CROP = 160  # side of a crop; SFace sees its middle 112 pixels
CROPS = [(200, 140, 2), (160, 180, 2), (40, 60, 3), (290, 270, 1), (230, 190, 1)]  # left, top, pixels per pixel
SIDE, BLOCK, MIN_SCORE = 640, 2, 0.5  # YuNet's input; pixels per pixel; faces worth comparing


def session(path):
    """The model with every quantised weight replaced by its float value."""
    model = onnx.load(path)
    graph = model.graph
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    nodes, gone = [], set()
    for node in graph.node:
        if node.op_type != "DequantizeLinear":
            nodes.append(node)
            continue
        q, scale, zero = (stored[name] for name in node.input)
        attribute = {a.name: a.i for a in node.attribute}
        axis, block = attribute["axis"], attribute["block_size"]
        spread = lambda a: np.repeat(np.atleast_1d(a), block, axis).take(range(q.shape[axis]), axis)
        weight = (q.astype(np.float32) - spread(zero).astype(np.float32)) * spread(scale)
        graph.initializer.append(onnx.numpy_helper.from_array(weight.astype(np.float32), node.output[0]))
        gone |= set(node.input)
    del graph.node[:]
    graph.node.extend(nodes)
    names = {t.name for t in graph.initializer} | {o for n in nodes for o in n.output}
    data = [i for i in graph.input if i.name in ("data", "input")]
    del graph.input[:]
    graph.input.extend(data)
    assert all(i in names or i in ("", "data", "input") for n in nodes for i in n.input)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def shrunk(part, block):
    height, width = part.shape[0] // block, part.shape[1] // block
    part = part[: height * block, : width * block].reshape(height, block, width, block, 3)
    return part.sum((1, 3)) // block**2


def sface(path, photo):
    network, cases = session(path), []
    for left, top, block in CROPS:
        crop = shrunk(photo[top : top + CROP * block, left : left + CROP * block], block)
        middle = crop[24:136, 24:136].transpose(2, 0, 1)[None].astype(np.float32)
        vector = network.run(None, {"data": middle})[0][0]
        cases.append(dict(left=left, top=top, block=block, vector=[round(float(v), 6) for v in vector]))
    return cases


def yunet(path, photo):
    network, faces = session(path), []
    small = shrunk(photo, BLOCK)
    canvas = np.zeros((SIDE, SIDE, 3), np.float32)
    canvas[: small.shape[0], : small.shape[1]] = small
    values = network.run(None, {"input": canvas[:, :, ::-1].transpose(2, 0, 1)[None]})
    out = {o.name: v[0] for o, v in zip(network.get_outputs(), values)}
    for stride in (8, 16, 32):
        cls, obj, box, points = (out[f"{k}_{stride}"] for k in ("cls", "obj", "bbox", "kps"))
        scores = np.sqrt(np.clip(cls[:, 0], 0, 1) * np.clip(obj[:, 0], 0, 1))
        for i in np.flatnonzero(scores >= MIN_SCORE):
            row, column = divmod(i, SIDE // stride)
            x, y = (column + box[i, 0]) * stride, (row + box[i, 1]) * stride
            w, h = np.exp(box[i, 2]) * stride, np.exp(box[i, 3]) * stride
            pairs = (points[i].reshape(5, 2) + (column, row)) * stride
            rect = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
            faces.append(dict(score=float(scores[i]), rect=[float(v) for v in rect], points=pairs.tolist()))
    return dict(side=SIDE, block=BLOCK, min_score=MIN_SCORE, faces=faces)


photo = np.asarray(Image.open(sys.argv[3]).convert("RGB")).astype(np.uint32)
for crate, name, cases in ("embed", "sface", sface(sys.argv[1], photo)), ("detect-track", "yunet", yunet(sys.argv[2], photo)):
    (CRATES / crate / "tests" / f"{name}.json").write_text(json.dumps(cases, indent=1) + "\n")
