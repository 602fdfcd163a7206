//! detect-track
