"""Writes the faces that onnxruntime finds with YuNet on a photo: yunet.json beside this file.

    python3 make_expected.py YUNET_int8bq.onnx 32bit.png

The photo is a PNG, so no JPEG decoder has a say; it is shrunk by means of whole blocks of pixels, so
no resampling filter has either. Made with onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6, Pillow 13.0.0.
"""
import json, pathlib, sys
import numpy as np, onnxruntime
from PIL import Image

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "embed" / "tests" / "reference"))
import networks

SIDE, BLOCK, MIN_SCORE = 640, 2, 0.5  # YuNet's input; pixels per pixel; faces worth comparing


def shrunk(part, block):
    height, width = part.shape[0] // block, part.shape[1] // block
    part = part[: height * block, : width * block].reshape(height, block, width, block, 3)
    return part.sum((1, 3)) // block**2


def yunet(path, photo):
    model = networks.dequantised(path).SerializeToString()
    network, faces = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]), []
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


photo = np.asarray(Image.open(sys.argv[2]).convert("RGB")).astype(np.uint32)
(HERE / "yunet.json").write_text(json.dumps(yunet(sys.argv[1], photo), indent=1) + "\n")
