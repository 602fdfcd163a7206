//! Vectors: inner products, norms, means.
//!
//! The order of summation is part of each function's contract, because results must not depend on the
//! compiler or the number of threads. Functions that end in `_f64` widen every number before they multiply.

/// Inner product, summed in order.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Inner product in double precision, summed in order.
pub fn dot_f64(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// Inner product, summed in 16 lanes, which vector registers can hold: faster than [`dot`], and rounded
/// otherwise.
pub fn dot_in_lanes(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0.0_f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// Inner product of a sum in double precision and a vector, summed in 8 lanes: faster than a sum in order, which
/// waits for each addition.
pub fn dot_in_lanes_f64(sum: &[f64], vector: &[f32]) -> f64 {
    const LANES: usize = 8;
    let ((a, a_rest), (b, b_rest)) = (sum.as_chunks::<LANES>(), vector.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * f64::from(b[lane]);
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * f64::from(*b)).sum();
    sums.iter().sum::<f64>() + rest
}

/// Euclidean length.
pub fn norm(vector: &[f32]) -> f32 {
    vector.iter().map(|x| x * x).sum::<f32>().sqrt()
}

/// Euclidean length of a vector in double precision.
pub fn norm_f64(vector: &[f64]) -> f64 {
    vector.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// Adds a vector to a sum in double precision.
pub fn add(sum: &mut [f64], vector: &[f32]) {
    sum.iter_mut().zip(vector).for_each(|(sum, x)| *sum += f64::from(*x));
}

/// The vector of unit length in the direction of `vector`, narrowed to single precision; `None` if
/// `vector` is shorter than `least`, above 0, and so has no direction to speak of.
pub fn direction(vector: &[f64], least: f64) -> Option<Vec<f32>> {
    let length = norm_f64(vector);
    if length < least { None } else { Some(vector.iter().map(|x| (x / length) as f32).collect()) }
}

/// `1 − cosine` of two unit vectors, 0 to 2.
pub fn cosine_distance(a: &[f32], b: &[f32]) -> f64 {
    (1.0 - dot_f64(a, b)).clamp(0.0, 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_independent_of_the_order_of_summation() {
        let a: Vec<f32> = (0..37_u8).map(f32::from).collect();
        let expected: u32 = (0..37).map(|x| x * x).sum();
        assert_eq!(dot(&a, &a), expected as f32);
        assert_eq!(dot_in_lanes(&a, &a), expected as f32);
        assert_eq!(dot_f64(&a, &a), f64::from(expected));
        let sum: Vec<f64> = a.iter().map(|x| f64::from(*x)).collect();
        assert_eq!(dot_in_lanes_f64(&sum, &a), f64::from(expected));
        assert_eq!((norm(&[3.0, 4.0]), norm_f64(&[3.0, 4.0])), (5.0, 5.0));
    }

    #[test]
    fn a_vector_of_no_length_has_no_direction() {
        assert_eq!(direction(&[3.0, 4.0], 1e-3), Some(vec![0.6, 0.8]));
        assert_eq!(direction(&[1e-4, 0.0], 1e-3), None);
        let mut sum = vec![1.0, 2.0];
        add(&mut sum, &[0.5, -2.0]);
        assert_eq!(sum, [1.5, 0.0]);
    }

    #[test]
    fn distances_stay_within_0_and_2() {
        assert_eq!(cosine_distance(&[1.0, 0.0], &[1.1, 0.0]), 0.0);
        assert_eq!(cosine_distance(&[1.0, 0.0], &[-1.0, 0.0]), 2.0);
    }
}
