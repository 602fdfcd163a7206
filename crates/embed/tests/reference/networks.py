"""The networks as ONNX graphs, built from weights, for onnxruntime: yardstick of parity and of speed.

Everything here is written from what the networks' authors published and shares nothing with our
Rust. Weights are functions `get(name, shape)`: a converted file (`stored`) or `seeded` ones, which a
test makes in the same way without storing them. Layouts are NCHW, as onnxruntime has them.
"""
import json
import numpy as np, onnx
from onnx import TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 17, 8
MASK = (1 << 64) - 1


def stored(path):
    """Tensors of a safetensors file."""
    data = open(path, "rb").read()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])

    def get(name, shape):
        entry = header[name]
        begin, end = entry["data_offsets"]
        assert entry["dtype"] == "F32" and tuple(entry["shape"]) == tuple(shape), (name, entry["shape"], shape)
        return np.frombuffer(data[start + begin : start + end], np.float32).reshape(shape)

    return get


def noise(name, count):
    """Numbers from -1 to 1: SplitMix64 from the FNV-1a hash of the name, the upper 24 bits of each."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 & MASK
    z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return (z >> np.uint64(40)).astype(np.float32) / np.float32(1 << 23) - np.float32(1)


def seeded(name, shape):
    """Weights as trained ones might be, by the tensor's name; operations in single precision.

    Names that end in `bias`, `running_mean` or `.2`: 0.1 u; in `running_var`: 1 + 0.5 u. Else, with one
    dimension or three (scales, slopes): 0.75 + 0.25 u; with two or four (matrices, filters):
    sqrt(3 / (inputs of one output)) u, the root in double precision, rounded to single.
    """
    u = noise(name, int(np.prod(shape)))
    if name.endswith(("bias", "running_mean", ".2")):
        u = np.float32(0.1) * u
    elif name.endswith("running_var"):
        u = np.float32(1) + np.float32(0.5) * u
    elif len(shape) in (1, 3):
        u = np.float32(0.75) + np.float32(0.25) * u
    else:
        u = np.float32(np.sqrt(3 / np.prod(shape[1:]))) * u
    return u.reshape(shape)


class Graph:
    """An ONNX graph that grows node by node; values are (name, channels)."""

    def __init__(self, get):
        self.get, self.nodes, self.tensors, self.counts = get, [], {}, {}

    def add(self, op, inputs, channels=None, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, [i[0] for i in inputs], [name], **attributes))
        return name, channels if channels is not None else inputs[0][1]

    def constant(self, name, values):
        self.tensors[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name, None

    def weight(self, name, *shape):
        return self.constant(name, self.get(name, shape))

    def conv(self, x, outputs, kernel, weight, bias=None, stride=1, pad=0, group=1):
        (h, w), (above, left) = np.broadcast_to(kernel, 2), np.broadcast_to(pad, 2)
        inputs = [x, self.weight(weight, outputs, x[1] // group, int(h), int(w))]
        inputs += [self.weight(bias, outputs)] if bias else []
        pads = [int(p) for p in (above, left, above, left)]
        return self.add("Conv", inputs, outputs, strides=[stride, stride], pads=pads, group=group)

    def relu(self, x):
        return self.add("Relu", [x])

    def pool(self, op, x, kernel, stride):
        return self.add(op, [x], kernel_shape=[kernel, kernel], strides=[stride, stride])

    def pad(self, x, channels=0, rows_and_columns=0):
        end = np.array([0, 0, 0, 0, 0, channels, rows_and_columns, rows_and_columns], np.int64)
        return self.add("Pad", [x, self.constant(f"pad{len(self.nodes)}", end)], x[1] + channels)

    def norm(self, x, name, epsilon=1e-5):
        parts = [self.weight(f"{name}.{p}", x[1]) for p in ("weight", "bias", "running_mean", "running_var")]
        return self.add("BatchNormalization", [x, *parts], epsilon=epsilon)

    def product(self, x, outputs, weight, bias=None):
        inputs = [x, self.weight(weight, outputs, x[1])] + ([self.weight(bias, outputs)] if bias else [])
        return self.add("Gemm", inputs, outputs, transB=1)

    def mean(self, x):
        return self.add("Flatten", [self.add("GlobalAveragePool", [x])])

    def model(self, side, output):
        value = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        last = helper.make_node("Identity", [output[0]], ["output"])
        graph = helper.make_graph(
            self.nodes + [last], "network", [value("input", ["n", 3, side, side])], [value("output", ["n", output[1]])]
        )
        graph.initializer.extend(self.tensors.values())
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


INPUT = ("input", 3)


def dlib(get):
    """dlib's face_recognition_resnet_model_v1: 29 convolutions, an affine layer behind each."""
    g, number = Graph(get), iter(range(29))

    def layer(x, outputs, kernel, stride, pad):
        i = next(number)
        x = g.conv(x, outputs, kernel, f"conv{i}.weight", f"conv{i}.bias", stride, pad)
        gamma, beta = (g.constant(f"affine{i}.{p}", get(f"affine{i}.{p}", (outputs,))[:, None, None]) for p in ("gamma", "beta"))
        return g.add("Add", [g.add("Mul", [x, gamma]), beta])

    def block(x, outputs, down=False, short_by=0):
        y = g.relu(layer(x, outputs, 3, 2 if down else 1, 0 if down else 1))
        y = layer(y, outputs, 3, 1, 1)
        if down:
            # dlib adds maps of different sizes as if the smaller one went on with zeros.
            x = g.pool("AveragePool", x, 2, 2)
            x = g.pad(x, channels=outputs - x[1]) if outputs > x[1] else x
            y = g.pad(y, rows_and_columns=short_by) if short_by else y
        return g.relu(g.add("Add", [y, x]))

    x = g.pool("MaxPool", g.relu(layer(INPUT, 32, 7, 2, 0)), 3, 2)
    for outputs, down, short_by in (
        [(32, False, 0)] * 3
        + [(64, True, 0)] + [(64, False, 0)] * 3
        + [(128, True, 0)] + [(128, False, 0)] * 2
        + [(256, True, 1)] + [(256, False, 0)] * 2
        + [(256, True, 1)]
    ):
        x = block(x, outputs, down, short_by)
    return g.model(150, g.product(g.mean(x), 128, "fc0.weight"))


def facenet(get):
    """David Sandberg's FaceNet, Inception-ResNet-v1, up to the batch norm before the normalisation."""
    g = Graph(lambda name, shape: get(f"InceptionResnetV1/{name}", shape))

    def conv(x, outputs, name, kernel, stride=1, valid=False):
        pad = 0 if valid else np.asarray(kernel) // 2
        return g.relu(g.conv(x, outputs, kernel, f"{name}/weights", f"{name}/Conv2D_bn_offset", stride, pad))

    def branch(x, name, *layers):
        for layer, outputs, kernel, *how in layers:
            x = conv(x, outputs, f"{name}/{layer}", kernel, *how)
        return x

    def concat(*parts):
        return g.add("Concat", parts, sum(p[1] for p in parts), axis=1)

    def block(x, name, scale, branches, last=False):
        parts = concat(*(branch(x, f"{name}/Branch_{i}", *layers) for i, layers in enumerate(branches)))
        up = g.conv(parts, x[1], 1, f"{name}/Conv2d_1x1/weights", f"{name}/Conv2d_1x1/biases")
        up = g.add("Mul", [up, g.constant(f"{name}/scale", np.float32(scale))])
        x = g.add("Add", [x, up])
        return x if last else g.relu(x)

    block35 = [
        [("Conv2d_1x1", 32, 1)],
        [("Conv2d_0a_1x1", 32, 1), ("Conv2d_0b_3x3", 32, 3)],
        [("Conv2d_0a_1x1", 32, 1), ("Conv2d_0b_3x3", 32, 3), ("Conv2d_0c_3x3", 32, 3)],
    ]
    block17 = [
        [("Conv2d_1x1", 128, 1)],
        [("Conv2d_0a_1x1", 128, 1), ("Conv2d_0b_1x7", 128, (1, 7)), ("Conv2d_0c_7x1", 128, (7, 1))],
    ]
    block8 = [
        [("Conv2d_1x1", 192, 1)],
        [("Conv2d_0a_1x1", 192, 1), ("Conv2d_0b_1x3", 192, (1, 3)), ("Conv2d_0c_3x1", 192, (3, 1))],
    ]
    x = conv(INPUT, 32, "Conv2d_1a_3x3", 3, 2, True)
    x = conv(conv(x, 32, "Conv2d_2a_3x3", 3, 1, True), 64, "Conv2d_2b_3x3", 3)
    x = conv(g.pool("MaxPool", x, 3, 2), 80, "Conv2d_3b_1x1", 1)
    x = conv(conv(x, 192, "Conv2d_4a_3x3", 3, 1, True), 256, "Conv2d_4b_3x3", 3, 2, True)
    for i in range(1, 6):
        x = block(x, f"Repeat/block35_{i}", 0.17, block35)
    x = concat(
        branch(x, "Mixed_6a/Branch_0", ("Conv2d_1a_3x3", 384, 3, 2, True)),
        branch(x, "Mixed_6a/Branch_1", ("Conv2d_0a_1x1", 192, 1), ("Conv2d_0b_3x3", 192, 3), ("Conv2d_1a_3x3", 256, 3, 2, True)),
        g.pool("MaxPool", x, 3, 2),
    )
    for i in range(1, 11):
        x = block(x, f"Repeat_1/block17_{i}", 0.10, block17)
    x = concat(
        branch(x, "Mixed_7a/Branch_0", ("Conv2d_0a_1x1", 256, 1), ("Conv2d_1a_3x3", 384, 3, 2, True)),
        branch(x, "Mixed_7a/Branch_1", ("Conv2d_0a_1x1", 256, 1), ("Conv2d_1a_3x3", 256, 3, 2, True)),
        branch(x, "Mixed_7a/Branch_2", ("Conv2d_0a_1x1", 256, 1), ("Conv2d_0b_3x3", 256, 3), ("Conv2d_1a_3x3", 256, 3, 2, True)),
        g.pool("MaxPool", x, 3, 2),
    )
    for i in range(1, 6):
        x = block(x, f"Repeat_2/block8_{i}", 0.20, block8)
    x = g.mean(block(x, "Block8", 1.0, block8, last=True))
    x = g.product(x, 512, "Bottleneck/weights")
    parts = {p: g.weight(f"Bottleneck/BatchNorm/{p}", 512) for p in ("beta", "moving_mean", "moving_variance")}
    ones = g.constant("ones", np.ones(512, np.float32))
    x = g.add("BatchNormalization", [x, ones, *parts.values()], epsilon=1e-3)
    return g.model(160, x)


def vgg(get):
    """The convolutions of VGG16, and the mean over their last map."""
    g, x = Graph(get), INPUT
    for block, (outputs, layers) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), 1):
        for layer in range(1, layers + 1):
            name = f"conv{block}_{layer}"
            x = g.relu(g.conv(x, outputs, 3, f"{name}.weight", f"{name}.bias", 1, 1))
        x = g.pool("MaxPool", x, 2, 2)
    return g.model(112, g.mean(x))


class ArcFace(Graph):
    """Networks of insightface, under the names of their PyTorch modules; or, `exported`, as
    PyTorch's exporter leaves them: batch norms behind convolutions folded, those weights and
    slopes numbered by their nodes (see `name_by_reader` in crates/nn/src/weights/onnx.rs)."""

    def __init__(self, get, exported):
        super().__init__(get)
        self.exported = exported

    def next(self, op):
        self.counts[op] = self.counts.get(op, -1) + 1
        return f"{op}.{self.counts[op]}"

    def conv_norm(self, x, outputs, kernel, conv, norm, stride=1, pad=0, group=1):
        if self.exported:
            name = self.next("Conv")
            return self.conv(x, outputs, kernel, f"{name}.1", f"{name}.2", stride, pad, group)
        return self.norm(self.conv(x, outputs, kernel, f"{conv}.weight", None, stride, pad, group), norm)

    def prelu(self, x, name):
        if self.exported:
            slope = self.weight(f"{self.next('PRelu')}.1", x[1], 1, 1)
        else:
            slope = self.constant(f"{name}.weight", self.get(f"{name}.weight", (x[1],))[:, None, None])
        return self.add("PRelu", [x, slope])


IRESNETS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3)}


def iresnet(get, depth, exported=False):
    """insightface's IResNet (arcface_torch/backbones/iresnet.py)."""
    g = ArcFace(get, exported)
    x = g.prelu(g.conv_norm(INPUT, 64, 3, "conv1", "bn1", 1, 1), "prelu")
    for layer, (outputs, blocks) in enumerate(zip((64, 128, 256, 512), IRESNETS[depth]), 1):
        for i in range(blocks):
            name, stride = f"layer{layer}.{i}", 2 if i == 0 else 1
            y = g.conv_norm(g.norm(x, f"{name}.bn1"), outputs, 3, f"{name}.conv1", f"{name}.bn2", 1, 1)
            y = g.conv_norm(g.prelu(y, f"{name}.prelu"), outputs, 3, f"{name}.conv2", f"{name}.bn3", stride, 1)
            if i == 0:
                x = g.conv_norm(x, outputs, 1, f"{name}.downsample.0", f"{name}.downsample.1", stride)
            x = g.add("Add", [y, x])
    flat = g.add("Flatten", [g.norm(x, "bn2")], 512 * 7 * 7)
    return g.model(112, g.norm(g.product(flat, 512, "fc.weight", "fc.bias"), "features"))


def mobilefacenet(get, blocks=(1, 4, 6, 2), scale=2, exported=False):
    """insightface's MobileFaceNet (arcface_torch/backbones/mobilefacenet.py)."""
    g = ArcFace(get, exported)

    def linear(x, outputs, name, kernel=1, stride=1, pad=0, group=1):
        return g.conv_norm(x, outputs, kernel, f"{name}.layers.0", f"{name}.layers.1", stride, pad, group)

    def conv(x, outputs, name, *window):
        return g.prelu(linear(x, outputs, name, *window), f"{name}.layers.2")

    def depthwise(x, outputs, name, groups, stride):
        y = conv(x, groups, f"{name}.layers.0")
        y = conv(y, groups, f"{name}.layers.1", 3, stride, 1, groups)
        return linear(y, outputs, f"{name}.layers.2")

    def residual(x, name, count, groups):
        for i in range(count):
            x = g.add("Add", [x, depthwise(x, x[1], f"{name}.layers.{i}", groups, 1)])
        return x

    width = 64 * scale
    x = conv(INPUT, width, "layers.0", 3, 2, 1)
    if blocks[0] == 1:
        x = conv(x, width, "layers.1", 3, 1, 1, 64)
    else:
        x = residual(x, "layers.1", blocks[0], 128)
    x = residual(depthwise(x, width, "layers.2", 128, 2), "layers.3", blocks[1], 128)
    x = residual(depthwise(x, 2 * width, "layers.4", 256, 2), "layers.5", blocks[2], 256)
    x = residual(depthwise(x, 2 * width, "layers.6", 512, 2), "layers.7", blocks[3], 256)
    x = linear(conv(x, 512, "conv_sep"), 512, "features.layers.0", 7, 1, 0, 512)
    x = g.add("Flatten", [x])
    if exported:
        # Without a bias the exporter turns the matrix to inputs × outputs.
        x = g.add("MatMul", [x, g.weight(f"{g.next('MatMul')}.1", 512, 512)])
    else:
        x = g.product(x, 512, "features.layers.2.weight")
    return g.model(112, g.norm(x, "features.layers.3"))


def dequantised(path):
    """The model of an ONNX file, every block-wise quantised weight replaced by its float value:
    onnxruntime 1.32 refuses the files' block-wise biases."""
    model = onnx.load(path)
    graph = model.graph
    tensors = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type != "DequantizeLinear":
            nodes.append(node)
            continue
        q, scale, zero = (tensors[name] for name in node.input)
        attribute = {a.name: a.i for a in node.attribute}
        axis, block = attribute["axis"], attribute["block_size"]
        spread = lambda a: np.repeat(np.atleast_1d(a), block, axis).take(range(q.shape[axis]), axis)
        weight = (q.astype(np.float32) - spread(zero).astype(np.float32)) * spread(scale)
        graph.initializer.append(numpy_helper.from_array(weight.astype(np.float32), node.output[0]))
    read = {name for node in nodes for name in node.input}
    kept = [t for t in graph.initializer if t.name in read]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    # Every weight is declared as an input, too.
    made = {t.name for t in kept} | {output for node in nodes for output in node.output}
    data = [i for i in graph.input if i.name in read - made]
    del graph.input[:], graph.value_info[:]
    graph.input.extend(data)
    # The files are declared for one image at a time.
    for value in [*graph.input, *graph.output]:
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    return model
