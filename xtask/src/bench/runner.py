"""The other side of `cargo xtask bench embed` and `detect`: a network by onnxruntime or OpenCV.

    python runner.py RUNTIME NETWORK WEIGHTS_DIR THREADS [WIDTH HEIGHT]

Speaks the protocol of the runners, one JSON object a line: says `macs`, multiplications of one
image, once it is ready; then, for every line `BATCH COUNT` on standard input, passes that many batches
of so many images, one after the other, and says `wall_secs` and `cpu_secs`.
"""
import json, pathlib, sys, time
import numpy as np, onnx

import networks

QUANTISED = {
    "sface": ("face_recognition_sface_2021dec_int8bq.onnx", 112),
    "yunet": ("face_detection_yunet_2023mar_int8bq.onnx", None),
}
BUILT = {"dlib": networks.dlib, "facenet": networks.facenet, "vgg": networks.vgg}
# Networks whose weights a user brings: seeded ones, which go into a file for the other side.
SEEDED = {
    **{f"iresnet{d}": lambda get, d=d: networks.iresnet(get, d, exported=True) for d in networks.IRESNETS},
    "mobilefacenet": lambda get: networks.mobilefacenet(get, exported=True),
}


def model_of(name, folder):
    if name in QUANTISED:
        file, side = QUANTISED[name]
        return networks.dequantised(folder / file), side
    if name in SEEDED:
        model = SEEDED[name](networks.seeded)
        onnx.save(model, pathlib.Path(__file__).with_name(f"{name}.onnx"))
    else:
        model = BUILT[name](networks.stored(folder / f"{name}.safetensors"))
    return model, model.graph.input[0].type.tensor_type.shape.dim[2].dim_value


def for_inputs(model, shape):
    """The model declared for inputs of this shape, `n` being any number, with the sizes of all values."""
    for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim, shape):
        if isinstance(size, str):
            dim.dim_param = size
        else:
            dim.dim_value = size
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def macs(model):
    """Multiplications of convolutions and matrices for one image, of a model for one image."""
    values = [*model.graph.value_info, *model.graph.output]
    sizes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}
    sizes |= {t.name: list(t.dims) for t in model.graph.initializer}
    total = 0
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            total += np.prod(sizes[node.output[0]]) * np.prod(sizes[node.input[1]][1:])
        elif node.op_type == "MatMul":
            total += np.prod(sizes[node.input[1]])
    return int(total)


def by_onnxruntime(model, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: session.run(None, {name: batch})


def by_opencv(model, threads):
    import cv2

    cv2.setNumThreads(threads)
    network = cv2.dnn.readNetFromONNX(np.frombuffer(model.SerializeToString(), np.uint8))
    outputs = network.getUnconnectedOutLayersNames()

    def run(batch):
        # One at a time, as its own face detector does.
        for i in range(len(batch)):
            network.setInput(batch[i : i + 1])
            network.forward(outputs)

    return run


def say(**fields):
    print(json.dumps(fields), flush=True)


def main(runtime, name, folder, threads, *size):
    model, side = model_of(name, pathlib.Path(folder))
    shape = (3, *map(int, reversed(size))) if size else (3, side, side)
    single = for_inputs(model, (1, *shape))
    if runtime == "opencv":
        run = by_opencv(single, int(threads))
    else:
        run = by_onnxruntime(for_inputs(model, ("n", *shape)), int(threads))
    say(macs=macs(single))
    for line in sys.stdin:
        batch, count = map(int, line.split())
        images = np.random.default_rng(0).uniform(-1, 1, (batch, *shape)).astype(np.float32)
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(count):
            run(images)
        say(wall_secs=time.perf_counter() - wall, cpu_secs=time.process_time() - cpu)


try:
    main(*sys.argv[1:])
except KeyboardInterrupt:
    sys.exit(130)
