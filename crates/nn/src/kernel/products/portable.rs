//! Plain code, one value a "vector".

use super::{
    CHANNEL_BLOCK, MAGNITUDE, NONE, QUAD, QUADS, ROUNDER, Task, cell, kernel, largest, scales, tile_pixels,
    whole,
};

type Ints = i32;
type Floats = f32;

fn ints(value: i32) -> Ints {
    value
}

fn floats(value: f32) -> Floats {
    value
}

fn to_floats(value: Ints) -> Floats {
    value as f32
}

fn add(a: Floats, b: Floats) -> Floats {
    a + b
}

fn mul(a: Floats, b: Floats) -> Floats {
    a * b
}

fn max(a: Ints, b: Ints) -> Ints {
    a.max(b)
}

fn and(a: Ints, b: Ints) -> Ints {
    a & b
}

/// Values below 0 times their slope.
fn sloped(value: Floats, slope: Floats) -> Floats {
    if value < 0.0 { value * slope } else { value }
}

/// The products of four bytes each, inputs without and weights with a sign.
fn dot(sum: Ints, input: Ints, weight: Ints) -> Ints {
    let weight = weight.to_le_bytes().map(|byte| i32::from(byte.cast_signed()));
    let input = input.to_le_bytes().map(i32::from);
    (0..QUAD).fold(sum, |sum, i| sum + input[i] * weight[i])
}

fn lowest_bytes(values: [Ints; CHANNEL_BLOCK]) -> [u8; CHANNEL_BLOCK] {
    values.map(|value| value as u8)
}

kernel!([], 4 by 1);
