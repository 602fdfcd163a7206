//! Interface of face detectors.

use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use nn::weights::Weights;
use run::manifest::Input;
use serde::{Deserialize, Serialize};
use video::Image;

use crate::face::Face;
#[cfg(feature = "opencv")]
use crate::haar::{self, HaarDetector};
use crate::yunet::YuNet;
use crate::{Config, Error};

/// Choice of the face detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DetectorKind {
    /// A small network, see [`crate::yunet`].
    #[default]
    YuNet,
    /// Haar cascades of OpenCV, see `haar.rs`; only with the feature `opencv`.
    Haar,
}

/// Folder into which Debian's package `opencv-data` installs the cascades.
pub const CASCADES: &str = "/usr/share/opencv4/haarcascades";

/// Detects faces in pictures. Every worker thread has its own detector.
pub trait Detector {
    /// Returns the size of the smallest face that the detector finds reliably, in pixels of its input
    /// picture.
    fn smallest_px(&self) -> f64;

    /// Returns the faces in an RGB picture, in pixels of this picture. Boxes of one face may overlap.
    ///
    /// # Errors
    /// Returns the message of the network or of OpenCV.
    fn detect(&mut self, picture: &Image) -> Result<Vec<Face>, String>;
}

/// Creates a detector for one more thread, or returns a message.
pub type NewDetector = dyn Fn() -> Result<Box<dyn Detector>, String> + Sync;

/// Files of a detector, with their SHA-256; the detector itself does not exist yet.
pub enum Files {
    /// Weights of YuNet.
    YuNet(Weights),
    /// Haar cascades.
    #[cfg(feature = "opencv")]
    Haar(haar::Files),
}

impl Files {
    /// Reads the files of the configured detector; only YuNet has `weights`.
    ///
    /// # Errors
    /// Fails if a file is missing or invalid, or if the build lacks OpenCV for the detector `haar`.
    pub fn read(config: &Config, weights: Option<&Path>) -> Result<Self, Error> {
        match config.detector {
            DetectorKind::YuNet => {
                let weights = Weights::read(weights.ok_or(Error::NoWeights)?, &Device::Cpu)?;
                Ok(Self::YuNet(weights))
            }
            #[cfg(feature = "opencv")]
            DetectorKind::Haar => haar::Files::find(&config.cascades).map(Self::Haar),
            #[cfg(not(feature = "opencv"))]
            DetectorKind::Haar => Err(Error::NeedsOpenCv { what: "the detector haar" }),
        }
    }

    /// Inputs for the manifest.
    pub fn inputs(&self) -> Vec<Input> {
        match self {
            Self::YuNet(weights) => {
                vec![Input { name: "weights".into(), sha256: weights.sha256().to_owned() }]
            }
            #[cfg(feature = "opencv")]
            Self::Haar(files) => files.inputs().to_vec(),
        }
    }

    /// Returns the factory of detectors; faces with a score below `min_score`, 0 to 1, are dropped.
    ///
    /// # Errors
    /// Fails if a file does not contain the detector.
    pub fn load(self, min_score: f32) -> Result<Box<NewDetector>, Error> {
        match self {
            Self::YuNet(weights) => {
                let network = Arc::new(weights.load("yunet", |vb| YuNet::new(&vb))?);
                Ok(Box::new(move || Ok(Box::new(YuNetDetector { network: Arc::clone(&network), min_score }))))
            }
            #[cfg(feature = "opencv")]
            Self::Haar(files) => {
                // Each thread loads its own cascade. Loading one here reports an invalid file before a thread
                // starts.
                HaarDetector::new(&files, min_score)?;
                Ok(Box::new(move || match HaarDetector::new(&files, min_score) {
                    Ok(detector) => Ok(Box::new(detector)),
                    Err(error) => Err(error.to_string()),
                }))
            }
        }
    }
}

/// YuNet; faces that score less than `min_score` are dropped.
struct YuNetDetector {
    /// The network, shared by all threads.
    network: Arc<YuNet>,
    /// Smallest score, 0 to 1.
    min_score: f32,
}

impl Detector for YuNetDetector {
    fn smallest_px(&self) -> f64 {
        15.0
    }

    fn detect(&mut self, picture: &Image) -> Result<Vec<Face>, String> {
        let Image { width, height, data, .. } = picture;
        self.network.detect(data, *width, *height, self.min_score).map_err(|e| e.to_string())
    }
}
