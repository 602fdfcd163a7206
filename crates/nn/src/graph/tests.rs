//! Layers and graphs against candle's own operations, over random shapes, with every instruction set
//! that the machine has.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use candle_core::{DType, Device};
use proptest::prelude::*;

use super::*;
use crate::conv::{Conv2d, Depthwise};

/// Reproducible values in −1..1.
fn values(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1 << 23) - 1.0
    };
    (0..count).map(|_| next() as f32).collect()
}

fn tensor(shape: &[usize], seed: u32) -> Tensor {
    Tensor::from_vec(values(shape.iter().product(), seed), shape, &Device::Cpu).unwrap()
}

/// candle's own convolution, which works on NCHW.
fn reference(input: &Tensor, weight: &Tensor, bias: &Tensor, window: Window, groups: usize) -> Tensor {
    let [rows, columns] = window.padding;
    let input = stock::to_nchw(input).unwrap().pad_with_zeros(2, rows, rows).unwrap();
    let input = input.pad_with_zeros(3, columns, columns).unwrap();
    let out = input.conv2d(weight, 0, window.stride, 1, groups).unwrap();
    stock::to_nhwc(&out).unwrap().broadcast_add(bias).unwrap()
}

fn activated(x: &Tensor, activation: &Activation) -> Tensor {
    match activation {
        Activation::Identity => x.clone(),
        Activation::Relu => x.relu().unwrap(),
        Activation::Prelu(slopes) => {
            let slopes = Tensor::new(slopes.as_slice(), &Device::Cpu).unwrap();
            let negative = x.minimum(0.0).unwrap().broadcast_mul(&slopes).unwrap();
            (x.relu().unwrap() + negative).unwrap()
        }
    }
}

/// The largest magnitude.
fn largest(x: &Tensor) -> f32 {
    if x.elem_count() == 0 { 0.0 } else { x.abs().unwrap().max_all().unwrap().to_scalar().unwrap() }
}

fn assert_close(found: &Tensor, expected: &Tensor) {
    assert_eq!(found.dims(), expected.dims());
    let (error, magnitude) = (largest(&(found - expected).unwrap()), largest(expected));
    // Written so that NaN is an error.
    assert!(error <= 1e-4_f32.max(1e-5 * magnitude), "differs by {error} of {magnitude}");
}

fn activation(kind: usize, outputs: usize) -> Activation {
    match kind {
        0 => Activation::Identity,
        1 => Activation::Relu,
        _ => Activation::Prelu(values(outputs, 77)),
    }
}

/// Where layers run.
#[derive(Debug, Clone, Copy)]
enum Place {
    Kernels,
    Candle,
    #[cfg(feature = "cuda")]
    Card,
}

impl Place {
    fn conv2d(self, weight: &Tensor, bias: &Tensor, window: Window, activation: Activation) -> Layer {
        match self {
            Self::Kernels => Conv2d::new(weight, bias, window, activation),
            Self::Candle => Conv2d::stock(weight, bias, window, activation),
            #[cfg(feature = "cuda")]
            Self::Card => Conv2d::new(&on_card(weight), &on_card(bias), window, activation),
        }
        .unwrap()
        .into()
    }

    fn depthwise(self, weight: &Tensor, bias: &Tensor, window: Window, activation: Activation) -> Layer {
        match self {
            Self::Kernels => Depthwise::new(weight, bias, window, activation),
            Self::Candle => Depthwise::stock(weight, bias, window, activation),
            #[cfg(feature = "cuda")]
            Self::Card => Depthwise::new(&on_card(weight), &on_card(bias), window, activation),
        }
        .unwrap()
        .into()
    }
}

#[cfg(feature = "cuda")]
fn on_card(x: &Tensor) -> Tensor {
    x.to_device(&Device::new_cuda(0).unwrap()).unwrap()
}

/// Checks that half precision gives half as many digits.
fn assert_near(half: &Tensor, single: &Tensor) {
    let half = half.to_device(&Device::Cpu).unwrap();
    let (error, magnitude) = (largest(&(half - single).unwrap()), largest(single));
    assert!(error <= 0.01 * magnitude.max(1.0), "differs by {error} of {magnitude}");
}

/// Checks a graph with every instruction set, by few rows and by whole maps, and by candle's operations.
fn assert_gives(graph: impl Fn(Place) -> Graph, input: &Tensor, expected: &Tensor) {
    assert_close(&graph(Place::Candle).forward_stock(input).unwrap(), expected);
    let mut graph = graph(Place::Kernels);
    for isa in isa::available() {
        let whole = Graph { isa, ..graph }.assert_close(input, expected);
        graph = Graph { cached: 0, ..whole }.assert_close(input, expected);
        graph.cached = CACHED;
    }
}

impl Graph {
    /// Twice, because the second pass meets the memory of the first.
    fn assert_close(self, input: &Tensor, expected: &Tensor) -> Self {
        for _ in 0..2 {
            assert_close(&self.forward(input).unwrap(), expected);
        }
        self
    }
}

/// Of zeros, of numbers of any size, and of what is not finite, wherever it stands, a layer of integers makes what one
/// of single precision makes.
#[test]
fn integers_take_any_number() {
    let weight = tensor(&[48, 40, 1, 1], 1);
    let inputs = |factor: f32| values(40, 3).into_iter().map(|x| x * factor).collect::<Vec<_>>();
    let mut rows = [0.0, 1.0, -1.0, 1e30, 1e-30, f32::MIN_POSITIVE].map(inputs).to_vec();
    for (place, value) in [(0, f32::NAN), (15, f32::NAN), (17, f32::INFINITY), (39, -f32::NAN)] {
        let mut row = inputs(1.0);
        row[place] = value;
        rows.push(row);
    }
    let input = Tensor::from_vec(rows.concat(), (1, rows.len(), 1, 40), &Device::Cpu).unwrap();
    let layer = |weight: &Tensor| {
        let bias = Tensor::zeros(48, DType::F32, &Device::Cpu).unwrap();
        Graph::chain(vec![Place::Kernels.conv2d(weight, &bias, Window::POINT, activation(2, 48))])
    };
    let outputs = |graph: Graph| -> Vec<Vec<f32>> {
        graph.forward(&input).unwrap().reshape((rows.len(), 48)).unwrap().to_vec2().unwrap()
    };
    let mut wrong = values(48 * 40, 1);
    wrong[40 * 5 + 7] = f32::NAN;
    let wrong = Tensor::from_vec(wrong, (48, 40, 1, 1), &Device::Cpu).unwrap();
    let expected = outputs(layer(&weight));
    for isa in isa::available() {
        let found = outputs(Graph { isa, ..layer(&weight).in_integers() });
        for (row, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let most = expected.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
            for (found, expected) in found.iter().zip(expected) {
                let is_near = (found - expected).abs() <= 0.05 * most.max(1e-34);
                assert!(
                    if row < 6 { is_near } else { !found.is_finite() },
                    "{}, row {row}: {found}",
                    isa.name
                );
            }
        }
        // An output with a weight that is no number is none.
        let found = outputs(Graph { isa, ..layer(&wrong).in_integers() });
        assert!(found[1].iter().enumerate().all(|(i, x)| x.is_nan() == (i == 5)), "{}", isa.name);
    }
}

fn window() -> impl Strategy<Value = Window> {
    let free = ([1..4usize, 1..4usize], 1..4usize, [0..3usize, 0..3usize]);
    let free = free.prop_map(|(size, stride, padding)| Window {
        size,
        stride,
        padding: std::array::from_fn(|axis| padding[axis].min(size[axis] - 1)),
    });
    // Those of the networks.
    let known = prop::sample::select(vec![
        Window::POINT,
        Window::three(1),
        Window::three(2),
        Window::square(3, 1, 0),
        Window::square(3, 2, 0),
        Window::square(1, 2, 0),
    ]);
    prop_oneof![free, known]
}

/// One of the large windows of the networks, or one that is like none.
fn large_window() -> impl Strategy<Value = Window> {
    let rect = |size| Just(Window::rect(size));
    prop_oneof![
        rect([1, 7]),
        rect([7, 1]),
        rect([5, 3]),
        Just(Window::square(7, 2, 0)),
        Just(Window::square(7, 1, 0))
    ]
}

proptest! {
    #[test]
    fn dense_is_a_convolution(
        (n, height, width) in (1..3usize, 3..34usize, 3..34usize),
        (inputs, outputs) in (prop_oneof![Just(3), 1..36usize], 1..70usize),
        window in prop_oneof![3 => window(), 1 => large_window()],
        kind in 0..3usize,
    ) {
        prop_assume!(!window.outputs([height, width]).contains(&0));
        let input = tensor(&[n, height, width, inputs], 1);
        let weight = tensor(&[outputs, inputs, window.size[0], window.size[1]], 2);
        let bias = tensor(&[outputs], 3);
        let activation = activation(kind, outputs);
        let layer = |place: Place| place.conv2d(&weight, &bias, window, activation.clone());
        let expected = activated(&reference(&input, &weight, &bias, window, 1), &activation);
        assert_gives(|place| Graph::chain(vec![layer(place)]), &input, &expected);
    }

    /// The same bits with every instruction set and by any number of rows, and near those of single precision.
    #[test]
    fn integers_are_exact_and_near(
        (n, height, width) in (1..4usize, 1..20usize, 1..20usize),
        (inputs, outputs) in (17..90usize, 32..90usize),
        window in prop::sample::select(vec![
            Window::POINT,
            Window::square(1, 2, 0),
            Window::square(4, 1, 0),
            Window::square(7, 2, 0),
            Window { size: [2, 6], stride: 3, padding: [0; 2] },
            Window { size: [5, 3], stride: 7, padding: [0; 2] },
        ]),
        kind in 0..3usize,
    ) {
        prop_assume!(!window.outputs([height, width]).contains(&0));
        let input = tensor(&[n, height, width, inputs], 1);
        let weight = tensor(&[outputs, inputs, window.size[0], window.size[1]], 2);
        let bias = tensor(&[outputs], 3);
        let graph = || {
            let layer = Place::Kernels.conv2d(&weight, &bias, window, activation(kind, outputs));
            Graph::chain(vec![layer])
        };
        let exact = graph().forward(&input).unwrap();
        let mut integers = graph().in_integers();
        let found = integers.forward(&input).unwrap();
        // Of each product, the input is off by up to 1/254, the weight by up to 1/128, in random directions.
        let inputs = (inputs * window.taps()) as f32;
        assert!(largest(&(&found - &exact).unwrap()) < 0.016 * inputs.sqrt());
        let bits = |x: &Tensor| -> Vec<u32> {
            x.flatten_all().unwrap().to_vec1().unwrap().into_iter().map(f32::to_bits).collect()
        };
        for isa in isa::available() {
            for cached in [0, CACHED] {
                integers = Graph { isa, cached, ..integers };
                prop_assert_eq!(bits(&integers.forward(&input).unwrap()), bits(&found), "{}", isa.name);
            }
        }
    }

    #[test]
    fn depthwise_is_a_grouped_convolution(
        (n, height, width, channels) in (1..3usize, 3..24usize, 3..24usize, 1..40usize),
        window in prop_oneof![3 => window(), 1 => large_window()],
        kind in 0..3usize,
    ) {
        prop_assume!(!window.outputs([height, width]).contains(&0));
        let input = tensor(&[n, height, width, channels], 4);
        let weight = tensor(&[channels, 1, window.size[0], window.size[1]], 5);
        let bias = tensor(&[channels], 6);
        let activation = activation(kind, channels);
        let layer = |place: Place| place.depthwise(&weight, &bias, window, activation.clone());
        let expected = activated(&reference(&input, &weight, &bias, window, channels), &activation);
        assert_gives(|place| Graph::chain(vec![layer(place)]), &input, &expected);
    }

    #[test]
    fn pooling_is_candles(
        (n, height, width, channels) in (1..3usize, 3..13usize, 3..13usize, 1..40usize),
        (size, stride) in ([1..4usize, 1..4usize], 1..4usize),
    ) {
        let input = tensor(&[n, height, width, channels], 7);
        let window = Window { size, stride, padding: [0; 2] };
        let (nchw, pair) = (stock::to_nchw(&input).unwrap(), (size[0], size[1]));
        let pooled = nchw.max_pool2d_with_stride(pair, (stride, stride)).unwrap();
        assert_gives(|_| Graph::chain(vec![Layer::MaxPool(window)]), &input, &stock::to_nhwc(&pooled).unwrap());
        let pooled = nchw.avg_pool2d_with_stride(pair, (stride, stride)).unwrap();
        assert_gives(|_| Graph::chain(vec![Layer::AvgPool(window)]), &input, &stock::to_nhwc(&pooled).unwrap());
    }

    /// Padding is no value to a maximum, and 0 to a mean.
    #[test]
    fn pooling_knows_its_padding(
        (height, width, channels) in (3..9usize, 3..9usize, 1..20usize), window in window(),
    ) {
        let input = (tensor(&[1, height, width, channels], 7) - 2.0).unwrap();
        let [rows, columns] = window.padding;
        let filled = |value: f64| {
            let deep = (stock::to_nchw(&input).unwrap() - value).unwrap();
            let deep = deep.pad_with_zeros(2, rows, rows).unwrap().pad_with_zeros(3, columns, columns).unwrap();
            (deep + value).unwrap()
        };
        let (size, stride) = ((window.size[0], window.size[1]), (window.stride, window.stride));
        let pooled = stock::to_nhwc(&filled(-9.0).max_pool2d_with_stride(size, stride).unwrap()).unwrap();
        assert_gives(|_| Graph::chain(vec![Layer::MaxPool(window)]), &input, &pooled);
        let pooled = stock::to_nhwc(&filled(0.0).avg_pool2d_with_stride(size, stride).unwrap()).unwrap();
        assert_gives(|_| Graph::chain(vec![Layer::AvgPool(window)]), &input, &pooled);
    }

    /// The zeros that follow the smaller map are zeros before the activation.
    #[test]
    fn addition_fills_with_zeros(
        (n, height, width, channels) in (1..3usize, 1..7usize, 1..7usize, 1..40usize),
        (taller, wider) in (0..3usize, 0..3usize), kind in 0..3usize,
    ) {
        let window = Window { size: [1 + taller, 1 + wider], stride: 1, padding: [0; 2] };
        let input = tensor(&[n, height + taller, width + wider, channels], 8);
        let activation = activation(kind, channels);
        let graph = |_| {
            let (mut builder, input) = Builder::new();
            let smaller = builder.layer(input, Layer::MaxPool(window));
            let sum = builder.add(smaller, input, activation.clone());
            builder.build(sum)
        };
        let smaller = Graph::chain(vec![Layer::MaxPool(window)]).forward(&input).unwrap();
        let filled = smaller.pad_with_zeros(1, 0, taller).unwrap().pad_with_zeros(2, 0, wider).unwrap();
        assert_gives(graph, &input, &activated(&(&input + filled).unwrap(), &activation));
    }

    #[test]
    fn a_sum_is_candles_upsampling_and_addition(
        (n, height, width, channels) in (1..3usize, 1..7usize, 1..7usize, 1..40usize),
    ) {
        let coarse = tensor(&[n, height, width, channels], 8);
        let fine = tensor(&[n, 2 * height, 2 * width, channels], 9);
        let found = Graph::chain(vec![]).forward_sum(&fine, &coarse).unwrap();
        assert_close(&found, &(fine + stock::doubled(&coarse).unwrap()).unwrap());
    }

    /// Layers in a graph hand over what they give alone, whatever rows they do at a time.
    #[test]
    fn a_chain_is_its_layers(
        (n, height, width, channels) in (1..4usize, 12..30usize, 12..30usize, 1..40usize),
        kinds in prop::collection::vec((0..4usize, 1..3usize), 1..6),
    ) {
        let input = tensor(&[n, height, width, channels], 10);
        let layers = |place| -> Vec<_> {
            let mut channels = channels;
            kinds.iter().map(|(kind, stride)| layer(place, *kind, *stride, &mut channels)).collect()
        };
        let alone = |x: Tensor, layer| Graph::chain(vec![layer]).forward(&x);
        // Kernels may leave nothing of a small map, which is no error.
        let expected = layers(Place::Kernels).into_iter().try_fold(input.clone(), alone).unwrap();
        assert_gives(|place| Graph::chain(layers(place)), &input, &expected);
    }

    /// Forks and joins of any kind are what candle makes of them.
    #[test]
    fn a_graph_is_its_maps(
        (n, height, width, channels) in (1..4usize, 9..20usize, 9..20usize, 1..40usize),
        choices in prop::collection::vec((0..8usize, 0..9usize, 0..9usize, window()), 1..9),
    ) {
        let input = tensor(&[n, height, width, channels], 10);
        let graph = |place| random_graph(place, [height, width], channels, &choices);
        let expected = graph(Place::Candle).forward_stock(&input).unwrap();
        assert_gives(graph, &input, &expected);
        let half = input.to_dtype(DType::F16).unwrap();
        assert_near(&graph(Place::Candle).forward_stock(&half).unwrap(), &expected);
    }
}

/// A graph whose every map is made of earlier ones by choice.
fn random_graph(
    place: Place,
    size: [usize; 2],
    channels: usize,
    choices: &[(usize, usize, usize, Window)],
) -> Graph {
    let (mut builder, input) = Builder::new();
    let mut maps = vec![(input, size, channels)];
    for (kind, a, b, window) in choices {
        let ((a, size, channels), (b, other_size, other)) = (maps[a % maps.len()], maps[b % maps.len()]);
        let fits = (0..2).all(|axis| size[axis] >= window.size[axis]);
        let window = if fits { *window } else { Window::POINT };
        maps.push(match kind {
            0 | 1 => {
                let outputs = [5, 16, 32][channels % 3];
                let weight = tensor(&[outputs, channels, window.size[0], window.size[1]], 11);
                let weight = (weight / (channels * window.taps()) as f64).unwrap();
                let layer = place.conv2d(&weight, &tensor(&[outputs], 12), window, Activation::Relu);
                (builder.layer(a, layer), window.outputs(size), outputs)
            }
            2 => {
                let weight = tensor(&[channels, 1, window.size[0], window.size[1]], 13);
                let layer =
                    place.depthwise(&weight, &tensor(&[channels], 14), window, activation(2, channels));
                (builder.layer(a, layer), window.outputs(size), channels)
            }
            3 => (builder.layer(a, Layer::MaxPool(window)), window.outputs(size), channels),
            4 => (builder.layer(a, Layer::AvgPool(window)), window.outputs(size), channels),
            5 if size == other_size && channels.is_multiple_of(CHANNEL_BLOCK) => {
                (builder.concat(&[a, a, b]), size, 2 * channels + other)
            }
            6 => {
                let whole = Window { size, stride: 1, padding: [0; 2] };
                let mean = builder.layer(a, Layer::AvgPool(whole));
                let gate = builder.layer(mean, Layer::Sigmoid);
                (builder.scale(a, gate), size, channels)
            }
            _ => {
                let size = std::array::from_fn(|axis| size[axis].max(other_size[axis]));
                (builder.add(a, b, Activation::Relu), size, channels.max(other))
            }
        });
    }
    let (output, ..) = maps[maps.len() - 1];
    builder.build(output)
}

/// A layer of some kind; changes the number of channels to that of its outputs.
fn layer(place: Place, kind: usize, stride: usize, channels: &mut usize) -> Layer {
    let inputs = *channels;
    let dense = |outputs: usize, window: Window| {
        let weight = tensor(&[outputs, inputs, window.size[0], window.size[1]], 11);
        let weight = (weight / inputs as f64).unwrap();
        place.conv2d(&weight, &tensor(&[outputs], 12), window, Activation::Relu)
    };
    match kind {
        0 => {
            *channels = inputs % 37 + 3;
            dense(*channels, Window::POINT)
        }
        1 => dense(inputs, Window::three(stride)),
        2 => {
            let (weight, bias) = (tensor(&[inputs, 1, 3, 3], 13), tensor(&[inputs], 14));
            place.depthwise(&weight, &bias, Window::three(stride), activation(2, inputs))
        }
        _ => Layer::MaxPool(Window::square(2, 2, 0)),
    }
}

fn picture_layer() -> Layer {
    let (weight, bias) = (tensor(&[16, 3, 3, 3], 1), tensor(&[16], 2));
    Place::Kernels.conv2d(&weight, &bias, Window::three(2), Activation::Relu)
}

#[test]
fn bytes_are_read_as_their_values() {
    let bytes = Tensor::from_iter((0..3 * 20 * 30).map(|i| (i * 7 % 256) as u8), &Device::Cpu).unwrap();
    let bytes = bytes.reshape((1, 20, 30, 3)).unwrap();
    let chain = Graph::chain(vec![picture_layer()]);
    let expected = chain.forward(&bytes.to_dtype(DType::F32).unwrap()).unwrap();
    assert_eq!(
        chain.forward(&bytes).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap(),
        expected.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    );
}

/// A point and its neighbourhood: rows of the picture are still held for the one when the other reads them.
#[test]
fn layers_may_read_the_same_picture() {
    let picture = tensor(&[2, 17, 19, 3], 30);
    let layer = |place: Place, size: usize, seed| {
        let (weight, bias) = (tensor(&[20, 3, size, size], seed), tensor(&[20], seed + 1));
        place.conv2d(&weight, &bias, Window::square(size, 1, size / 2), Activation::Identity)
    };
    let alone = |size, seed| Graph::chain(vec![layer(Place::Kernels, size, seed)]).forward(&picture).unwrap();
    let expected = (alone(1, 31) + alone(3, 33)).unwrap();
    let fork = |place| {
        let (mut builder, input) = Builder::new();
        let point = builder.layer(input, layer(place, 1, 31));
        let wide = builder.layer(input, layer(place, 3, 33));
        let sum = builder.add(point, wide, Activation::Identity);
        builder.build(sum)
    };
    assert_gives(fork, &picture, &expected);
}

/// The largest of 4×4 tiles whose transform multiplies by up to 8 twice, summed over many channels.
#[test]
fn winograd_is_as_exact_as_the_magnitude_of_its_outputs_lets_it() {
    let input = tensor(&[2, 14, 14, 256], 20);
    let (weight, bias) = (tensor(&[64, 256, 3, 3], 21), tensor(&[64], 22));
    let expected = reference(&input, &weight, &bias, Window::three(1), 1);
    let layer = Place::Kernels.conv2d(&weight, &bias, Window::three(1), Activation::Identity);
    let found = Graph::chain(vec![layer]).forward(&input).unwrap();
    let (error, magnitude) = (largest(&(found - &expected).unwrap()), largest(&expected));
    assert!(error < 3e-5 * magnitude, "differs by {error} of {magnitude}");
}

/// Weights that outgrow the cache make a stage of their own, and the output stays the same.
#[test]
fn graphs_are_cut_where_weights_outgrow_the_cache() {
    let (weight, bias) = (tensor(&[64, 3, 1, 1], 17), tensor(&[64], 18));
    let layer = Place::Kernels.conv2d(&weight, &bias, Window::POINT, Activation::Relu);
    let layers = vec![Layer::MaxPool(Window::square(4, 4, 0)), layer];
    let images = tensor(&[2, 20, 20, 3], 16);
    let graph = Graph::chain(layers);
    let extents = graph.extents(Extent::of(images.shape()).unwrap()).unwrap();
    let whole = graph.forward(&images).unwrap();
    let ends = |graph: &Graph| -> Vec<_> { graph.stages(&extents).iter().map(|stage| stage.map).collect() };
    assert_eq!(ends(&graph), [2]);
    let graph = Graph { cached: 10, ..graph };
    assert_eq!(ends(&graph), [1, 2]);
    assert_close(&graph.forward(&images).unwrap(), &whole);
}

/// Not only nearly: a vector must not depend on what shares its batch.
#[test]
fn an_image_gives_the_same_bits_alone_and_in_a_batch() {
    let mut channels = 3;
    let layers = [(1, 2), (2, 1), (0, 1), (1, 1), (2, 2), (0, 1), (1, 2), (0, 1)];
    let layers = layers.map(|(kind, stride)| layer(Place::Kernels, kind, stride, &mut channels));
    let chain = Graph { cached: 500, ..Graph::chain(layers.into()) };
    let images = tensor(&[9, 23, 31, 3], 15);
    let bits =
        |x: &Tensor| -> Vec<f32> { chain.forward(x).unwrap().flatten_all().unwrap().to_vec1().unwrap() };
    let alone: Vec<f32> = (0..9).flat_map(|i| bits(&images.narrow(0, i, 1).unwrap())).collect();
    assert_eq!(bits(&images), alone);
}

#[test]
fn a_wrong_shape_is_an_error() {
    let graph = Graph::chain(vec![picture_layer()]);
    let message = graph.forward(&tensor(&[1, 5, 5, 2], 3)).unwrap_err().to_string();
    assert!(message.contains("expected 3 channels"), "{message}");
    let (fine, coarse) = (tensor(&[1, 5, 4, 3], 4), tensor(&[1, 2, 2, 3], 5));
    assert!(graph.forward_sum(&fine, &coarse).is_err());
    let (weight, bias) = (tensor(&[4, 3, 3, 3], 1), tensor(&[5], 2));
    assert!(Conv2d::new(&weight, &bias, Window::three(1), Activation::Relu).is_err());
    let (weight, bias) = (tensor(&[4, 2, 3, 3], 1), tensor(&[4], 2));
    assert!(Depthwise::new(&weight, &bias, Window::three(1), Activation::Relu).is_err());
}

#[test]
fn maps_that_do_not_fit_are_an_error() {
    let joined = |channels: usize, window: Window| {
        let (mut builder, input) = Builder::new();
        let smaller = builder.layer(input, Layer::MaxPool(window));
        let joined = builder.concat(&[smaller, input]);
        builder.build(joined).forward(&tensor(&[1, 5, 5, channels], 6))
    };
    assert!(joined(16, Window::POINT).is_ok());
    assert!(joined(15, Window::POINT).is_err());
    assert!(joined(16, Window::square(2, 1, 0)).is_err());
    assert!(joined(16, Window::square(1, 0, 0)).is_err());
}

#[test]
fn maps_behind_the_output_are_dropped() {
    let (mut builder, input) = Builder::new();
    let pooled = builder.layer(input, Layer::MaxPool(Window::square(2, 2, 0)));
    builder.layer(pooled, picture_layer());
    let graph = builder.build(pooled);
    assert_eq!(graph.nodes.len(), 1);
    // The picture layer would refuse five channels.
    assert_eq!(graph.forward(&tensor(&[1, 4, 4, 5], 7)).unwrap().dims(), [1, 2, 2, 5]);
}

#[test]
fn multiplications_are_counted_by_the_outputs() {
    let dense = Place::Kernels.conv2d(
        &tensor(&[8, 3, 3, 3], 1),
        &tensor(&[8], 2),
        Window::three(2),
        activation(0, 8),
    );
    let depthwise = Place::Kernels.depthwise(
        &tensor(&[8, 1, 3, 3], 3),
        &tensor(&[8], 4),
        Window::three(1),
        activation(0, 8),
    );
    let graph = Graph::chain(vec![dense, depthwise, Layer::MaxPool(Window::square(2, 2, 0))]);
    let count = |n: usize| graph.multiplications(&Shape::from((n, 10, 10, 3))).unwrap();
    assert_eq!(count(1), 5 * 5 * 8 * (3 * 9 + 9));
    assert_eq!(count(4), 4 * count(1));
    assert!(graph.multiplications(&Shape::from((1, 10, 10, 4))).is_err());
}

#[test]
fn weights_elsewhere_are_an_error() {
    let (weight, bias) = (tensor(&[4, 3, 1, 1], 1), tensor(&[4], 2));
    let graph =
        |place: Place| Graph::chain(vec![place.conv2d(&weight, &bias, Window::POINT, Activation::Identity)]);
    let input = tensor(&[1, 5, 5, 3], 3);
    assert!(graph(Place::Candle).forward(&input).is_err());
    assert!(graph(Place::Kernels).forward_stock(&input).is_err());
}

/// Half precision rounds, to about three digits.
#[test]
fn candles_operations_follow_the_type_of_the_input() {
    let (weight, bias) = (tensor(&[4, 3, 1, 1], 1), tensor(&[4], 2));
    let graph =
        |place: Place| Graph::chain(vec![place.conv2d(&weight, &bias, Window::POINT, activation(2, 4))]);
    let input = tensor(&[1, 5, 5, 3], 3);
    let expected = graph(Place::Kernels).forward(&input).unwrap();
    let half = input.to_dtype(DType::F16).unwrap();
    let found = graph(Place::Candle).forward_stock(&half).unwrap();
    assert_eq!(found.dtype(), DType::F32);
    let difference = largest(&(found - expected).unwrap());
    assert!(difference > 0.0 && difference < 0.01, "differs by {difference}");
    assert!(graph(Place::Kernels).forward(&half).is_err(), "the kernels have no half precision");
}

/// Layers of every kind, on more channels and images than a card computes in one step.
#[test]
#[cfg(feature = "cuda")]
#[ignore = "needs an NVIDIA card"]
fn a_card_computes_what_the_cpu_does() {
    let input = tensor(&[4, 61, 61, 32], 23);
    let windows = [Window::three(2), Window::square(3, 2, 0), Window::rect([1, 7]), Window::POINT];
    // Every map is made of the last one, by all kinds in turn.
    let choices: Vec<_> = (0..7 * windows.len()).map(|i| (i % 7, i, i / 2, windows[i / 7])).collect();
    let graph = |place| random_graph(place, [61, 61], 32, &choices);
    let expected = graph(Place::Kernels).forward(&input).unwrap();
    let single = graph(Place::Card).forward(&on_card(&input)).unwrap();
    assert_close(&single.to_device(&Device::Cpu).unwrap(), &expected);
    let half = on_card(&input).to_dtype(DType::F16).unwrap();
    assert_near(&graph(Place::Card).forward(&half).unwrap(), &expected);
}
