//! Where networks run: on the CPU by our kernels, or on an NVIDIA graphics card by candle's operations.

use std::fmt;
use std::str::FromStr;

use candle_core::{DType, Device, Result, Tensor};
use failure::{Advice, Failure, catch_panic, exit};

use crate::graph::Graph;
use crate::isa;

/// Devices that a user can select.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The first card, if the program was built for cards and one answers, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// The card of this number, from 0.
    Cuda(usize),
}

/// Precision of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// [`Precision::Integer`] on CPUs that are [faster](crate::isa::Isa::is_faster_in_integers) with it, else
    /// [`Precision::Single`].
    Auto,
    /// Single precision, 32 bits.
    Single,
    /// Half precision, 16 bits, up to 65,504 and with 11 significant bits; on cards only.
    Half,
    /// Integers of 8 bits in the layers that they suit ([`Graph::in_integers`](crate::graph::Graph::in_integers)),
    /// single precision in the others; on the CPU only.
    Integer,
}

/// Errors of selecting a device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not the name of a device.
    #[error("unknown device `{0}`: expected `cpu`, `cuda`, `cuda:N` or `auto`")]
    UnknownDevice(String),
    /// Not the name of a precision.
    #[error("unknown precision `{0}`: expected `auto`, `int8`, `f32` or `f16`")]
    UnknownPrecision(String),
    /// The program was built without CUDA.
    #[error("this program was built without CUDA")]
    NotBuilt,
    /// No such card, or no driver.
    #[error("failed to use the device `{device}`: {reason}")]
    Unavailable {
        /// The device that was asked for.
        device: Choice,
        /// Message of candle or of the driver.
        reason: String,
    },
    /// The CPU has no kernels for half precision.
    #[error("half precision requires a CUDA device")]
    HalfOnCpu,
    /// candle has no layers of integers.
    #[error("int8 requires the CPU")]
    IntegerOnCard,
}

impl Failure for Error {
    fn advice(&self) -> Advice {
        let hint = match self {
            Self::UnknownDevice(_) | Self::UnknownPrecision(_) => return exit::USAGE.into(),
            Self::NotBuilt => "see \"With a GPU\" in CONTRIBUTING.md, or use `cpu`",
            Self::Unavailable { .. } => "run `nvidia-smi` to list the cards, or use `cpu`",
            Self::HalfOnCpu => "use `int8` or `f32` on the CPU",
            Self::IntegerOnCard => "use `f32` or `f16` on a card",
        };
        Advice::new(exit::USAGE, hint)
    }
}

impl FromStr for Choice {
    type Err = Error;

    fn from_str(text: &str) -> std::result::Result<Self, Error> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => {
                let number = text.strip_prefix("cuda:").and_then(|number| number.parse().ok());
                number.map(Self::Cuda).ok_or_else(|| Error::UnknownDevice(text.into()))
            }
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> std::result::Result<Self, Error> {
        match text {
            "auto" => Ok(Self::Auto),
            "f32" => Ok(Self::Single),
            "f16" => Ok(Self::Half),
            "int8" => Ok(Self::Integer),
            _ => Err(Error::UnknownPrecision(text.into())),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Single => "f32",
            Self::Half => "f16",
            Self::Integer => "int8",
        })
    }
}

/// An available device, and the precision of networks on it.
#[derive(Debug, Clone)]
pub struct Place {
    choice: Choice,
    device: Device,
    precision: Precision,
}

impl Place {
    /// Opens the device. Weights are read in single precision, whatever `precision` is, so that they are folded without
    /// loss. [`Place::graph`] makes integers of them; half precision is the type of the input that [`Place::put`]
    /// returns.
    ///
    /// # Errors
    /// [`Error::NotBuilt`], [`Error::Unavailable`], [`Error::HalfOnCpu`], [`Error::IntegerOnCard`].
    pub fn open(choice: Choice, precision: Precision) -> std::result::Result<Self, Error> {
        let (choice, device) = match choice {
            Choice::Cpu => (Choice::Cpu, Device::Cpu),
            Choice::Cuda(number) => (choice, cuda(number)?),
            Choice::Auto => cuda(0).map_or((Choice::Cpu, Device::Cpu), |device| (Choice::Cuda(0), device)),
        };
        let precision = match (precision, choice) {
            (Precision::Auto, Choice::Cpu) if isa::chosen().is_faster_in_integers => Precision::Integer,
            (Precision::Auto, _) => Precision::Single,
            (Precision::Half, Choice::Cpu) => return Err(Error::HalfOnCpu),
            (Precision::Integer, Choice::Cuda(_)) => return Err(Error::IntegerOnCard),
            (precision, _) => precision,
        };
        Ok(Self { choice, device, precision })
    }

    /// The device it is: never [`Choice::Auto`].
    pub fn choice(&self) -> Choice {
        self.choice
    }

    /// The precision of networks here: never [`Precision::Auto`].
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The device, to read weights for.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The graph, whose weights are on this device, in the precision of this place.
    pub fn graph(&self, graph: Graph) -> Graph {
        if self.precision == Precision::Integer { graph.in_integers() } else { graph }
    }

    /// The input of a network, f32 or u8, moved to the device and, for half precision, turned into f16.
    ///
    /// # Errors
    /// When the device's memory is full, or the driver fails.
    pub fn put(&self, input: &Tensor) -> Result<Tensor> {
        let input = input.to_device(&self.device)?;
        if self.precision == Precision::Half { input.to_dtype(DType::F16) } else { Ok(input) }
    }
}

fn cuda(number: usize) -> std::result::Result<Device, Error> {
    if !cfg!(feature = "cuda") {
        return Err(Error::NotBuilt);
    }
    // Where there is no driver, candle panics.
    let found = catch_panic(|| Device::new_cuda(number)).and_then(|found| found.map_err(|e| e.to_string()));
    found.map_err(|words| {
        // What follows is a backtrace, or the seventeen names under which a library was looked for.
        let reason = words.lines().next().and_then(|line| line.split(" - searched").next());
        let reason = reason.unwrap_or_default().to_owned();
        Error::Unavailable { device: Choice::Cuda(number), reason }
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_they_are_written() {
        for choice in [Choice::Auto, Choice::Cpu, Choice::Cuda(0), Choice::Cuda(12)] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        assert_eq!("cuda".parse(), Ok(Choice::Cuda(0)));
        for wrong in ["", "gpu", "CPU", "cuda:", "cuda:-1", "cuda:one", "cuda:0 ", "cpu:0"] {
            assert_eq!(wrong.parse::<Choice>(), Err(Error::UnknownDevice(wrong.into())));
        }
    }

    #[test]
    fn precisions_are_read_as_they_are_written() {
        for (text, precision) in
            [("f32", Precision::Single), ("f16", Precision::Half), ("int8", Precision::Integer)]
        {
            assert_eq!(text.parse(), Ok(precision));
        }
        assert_eq!("half".parse::<Precision>(), Err(Error::UnknownPrecision("half".into())));
    }

    #[test]
    fn the_cpu_computes_in_integers_or_single_precision() {
        let place = Place::open(Choice::Cpu, Precision::Single).unwrap();
        assert!(place.device().is_cpu());
        let picture = Tensor::new(&[1_u8, 2], &Device::Cpu).unwrap();
        let input = place.put(&picture).unwrap();
        assert_eq!(input.to_vec1::<u8>().unwrap(), [1, 2], "the kernels read pictures as they are");
        assert_eq!(Place::open(Choice::Cpu, Precision::Half).unwrap_err(), Error::HalfOnCpu);
        let is_faster = isa::chosen().is_faster_in_integers;
        let expected = if is_faster { Precision::Integer } else { Precision::Single };
        assert_eq!(Place::open(Choice::Cpu, Precision::Auto).unwrap().precision(), expected);
    }

    #[test]
    fn auto_is_always_there() {
        let place = Place::open(Choice::Auto, Precision::Single).unwrap();
        assert_ne!(place.choice(), Choice::Auto);
        assert_eq!(place.device().is_cpu(), place.choice() == Choice::Cpu);
    }

    #[test]
    #[cfg(not(feature = "cuda"))]
    fn a_program_without_cuda_says_so() {
        let error = Place::open(Choice::Cuda(0), Precision::Single).unwrap_err();
        assert_eq!(error, Error::NotBuilt);
        assert!(error.hint().unwrap().contains("With a GPU"));
    }

    #[test]
    #[cfg(feature = "cuda")]
    fn a_card_that_is_not_there_is_an_error_in_the_drivers_words() {
        let error = Place::open(Choice::Cuda(999), Precision::Single).unwrap_err();
        let words = error.to_string();
        assert!(words.starts_with("failed to use the device `cuda:999`: "), "{words}");
        assert!((40..240).contains(&words.len()), "{words}");
    }
}
